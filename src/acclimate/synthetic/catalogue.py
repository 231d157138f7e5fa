"""What there is to render: the five domains, their classes and their acquisition domains, as data."""

from __future__ import annotations

from dataclasses import dataclass

from acclimate.errors import ConfigError


@dataclass(frozen=True)
class SyntheticDomain:
    """A specialised domain whose images the package can make itself.

    Args:
        name: identifier, also the module of `acclimate.synthetic` that draws it.
        title: what the images are, in words.
        classes: class names, shared by all acquisition domains.
        acquisitions: acquisition domains (sensor, season, stain, optics, rendering).
        description: one sentence on the physics behind the images.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    acquisitions: tuple[str, ...]
    description: str


_DOMAINS = (
    SyntheticDomain(
        "satellite",
        "satellite scenes",
        ("desert_dunes", "farmland", "forest", "harbour", "industrial_area", "mountain", "residential_area", "river"),
        ("summer_optical", "winter_low_sun", "hazy_low_resolution", "false_colour_infrared"),
        "Four-band reflectance of land cover on fractal terrain, lit by a sun with cast shadows, seen through haze and "
        "a sensor's point-spread function.",
    ),
    SyntheticDomain(
        "sar",
        "SAR target chips",
        (
            "airliner",
            "bridge",
            "container_ship",
            "fighter_jet",
            "helicopter",
            "storage_tank",
            "tanker_ship",
            "tracked_vehicle",
        ),
        ("x_band_single_look", "c_band_four_look", "x_band_steep", "l_band_pauli"),
        "Point scatterers with aspect dependence and extended surfaces with layover and radar shadow, imaged with a "
        "Taylor-weighted response in multiplicative speckle.",
    ),
    SyntheticDomain(
        "thin_section",
        "petrographic thin sections",
        (
            "basalt",
            "gabbro",
            "granite",
            "marble",
            "mica_schist",
            "oolitic_limestone",
            "peridotite",
            "quartz_sandstone",
        ),
        ("plane_polarised", "cross_polarised", "thick_section_halogen", "lambda_plate"),
        "Mineral grains with twinning, cleavage and relief, in plane-polarised light or with interference colours "
        "computed from retardation.",
    ),
    SyntheticDomain(
        "flow",
        "flow fields",
        (
            "boundary_layer",
            "convection_cells",
            "decaying_turbulence",
            "karman_street",
            "plane_jet",
            "shear_layer",
            "taylor_green_array",
            "vortex_group",
        ),
        ("vorticity_map", "speed_map", "schlieren", "tracer_streaks"),
        "Analytic vortices and boundary layers, and two-dimensional runs of a pseudo-spectral solver, shown as a "
        "simulation or a laboratory would show them.",
    ),
    SyntheticDomain(
        "microscopy",
        "histology micrographs",
        (
            "adipose_tissue",
            "fibrous_stroma",
            "glandular_mucosa",
            "lymphoid_aggregate",
            "necrosis",
            "smooth_muscle",
            "squamous_epithelium",
            "tumour_nests",
        ),
        ("lab_a_he", "lab_b_eosin_defocus", "frozen_section", "fluorescence"),
        "Tissue architecture and nuclei with shape statistics, stained through Beer-Lambert optical densities.",
    ),
)


def list_domains() -> tuple[str, ...]:
    """Names of the domains that can be rendered."""
    return tuple(domain.name for domain in _DOMAINS)


def get_domain(name: str) -> SyntheticDomain:
    """The domain called `name`.

    Raises:
        ConfigError: no such domain; the message lists the names.
    """
    for domain in _DOMAINS:
        if domain.name == name:
            return domain
    raise ConfigError(f"unknown synthetic domain {name!r}: choose one of {', '.join(list_domains())}")


def pick(domain: SyntheticDomain, kind: str, value: str) -> str:
    """Check that `value` is a class or an acquisition (`kind`) of the domain and hand it back.

    Raises:
        ConfigError: it is not; the message lists the names.
    """
    names = domain.classes if kind == "class" else domain.acquisitions
    if value not in names:
        raise ConfigError(f"synthetic domain {domain.name!r} has no {kind} {value!r}: choose one of {', '.join(names)}")
    return value
