"""Optical properties of rock-forming minerals, as data (after Deer, Howie and Zussman; rounded)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mineral:
    """What a polarising microscope sees of a mineral.

    Args:
        birefringence: maximum, n_gamma - n_alpha.
        index: mean refractive index; the mounting resin has 1.54.
        absorption: optical density of 30 micrometres in R, G, B with light along the body's length.
        across: the same across it (pleochroism).
        twin: "", "albite" (polysynthetic), "tartan" (microcline) or "calcite" (lamellae in two sets).
        cleavage: angles in degrees between the sets of cleavage planes and the body's length.
        undulose: strain, radians of wandering extinction.
        cloud: optical density of alteration products.
        cracks: strength of irregular fractures.
        extinction: angle in degrees between the slow axis and the body's length; None for any.
        in_plane: the slow axis lies in the section, so that all grains have the full birefringence.
    """

    birefringence: float
    index: float
    absorption: tuple[float, float, float] = (0.0, 0.0, 0.0)
    across: tuple[float, float, float] | None = None
    twin: str = ""
    cleavage: tuple[float, ...] = ()
    undulose: float = 0.0
    cloud: float = 0.0
    cracks: float = 0.0
    extinction: float | None = None
    in_plane: bool = False


MINERALS = {
    "resin": Mineral(0.0, 1.54),
    "blue_resin": Mineral(0.0, 1.54, (0.75, 0.30, 0.06)),
    "glass": Mineral(0.0, 1.56, (0.55, 0.75, 1.0), cloud=0.25),
    "opaque": Mineral(0.0, 1.54, (4.0, 4.0, 4.0)),
    "quartz": Mineral(0.009, 1.548, undulose=0.16, cracks=0.08),
    "chert": Mineral(0.004, 1.54, (0.05, 0.06, 0.08), cloud=0.15),
    "potassium_feldspar": Mineral(0.006, 1.522, (0.03, 0.05, 0.07), twin="tartan", cleavage=(0.0,), cloud=0.22),
    "plagioclase": Mineral(0.0095, 1.555, (0.01, 0.01, 0.02), twin="albite", cleavage=(0.0,), cloud=0.10),
    "biotite": Mineral(0.045, 1.63, (0.75, 1.15, 1.7), (0.12, 0.25, 0.55), cleavage=(0.0,), extinction=0.0),
    "muscovite": Mineral(0.038, 1.59, cleavage=(0.0,), extinction=0.0),
    "chlorite": Mineral(0.006, 1.60, (0.35, 0.12, 0.35), (0.18, 0.10, 0.25), cleavage=(0.0,), extinction=0.0),
    "augite": Mineral(0.025, 1.70, (0.16, 0.13, 0.22), cleavage=(3.0, 90.0), cracks=0.3, extinction=42.0),
    "hypersthene": Mineral(
        0.013, 1.69, (0.10, 0.16, 0.18), (0.20, 0.12, 0.20), cleavage=(0.0, 88.0), cracks=0.2, extinction=0.0
    ),
    "hornblende": Mineral(0.022, 1.66, (0.55, 0.40, 0.75), (0.20, 0.18, 0.40), cleavage=(28.0, -28.0), extinction=18.0),
    "olivine": Mineral(0.038, 1.68, (0.02, 0.01, 0.05), cracks=0.9, undulose=0.05),
    "serpentine": Mineral(0.006, 1.55, (0.22, 0.10, 0.26), undulose=0.9),
    "spinel": Mineral(0.0, 1.80, (1.3, 1.9, 2.6)),
    "garnet": Mineral(0.0, 1.79, (0.06, 0.14, 0.12), cracks=0.6),
    "calcite": Mineral(0.172, 1.60, (0.02, 0.02, 0.03), twin="calcite", cleavage=(0.0, 75.0)),
    "micrite": Mineral(0.12, 1.58, (0.55, 0.75, 1.0), cloud=0.5, undulose=0.9, in_plane=True),
    "fibrous_carbonate": Mineral(0.15, 1.58, (0.12, 0.18, 0.28), extinction=0.0, in_plane=True, undulose=0.08),
    "clay": Mineral(0.012, 1.57, (0.5, 0.8, 1.3), cloud=0.4, undulose=1.2, in_plane=True),
    "haematite": Mineral(0.0, 1.75, (0.9, 2.2, 3.2)),
}
NAMES = tuple(MINERALS)
