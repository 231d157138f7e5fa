"""Petrographic thin sections under a polarising microscope.

Plane-polarised light: Beer-Lambert absorption with pleochroism, relief where the refractive index changes, cleavage and
fractures. Crossed polarisers: interference colours from retardation = birefringence x thickness (Michel-Levy chart, see
`spectra`), extinction, twins. The rocks are in `rocks`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acclimate.synthetic.fields import F32, blur, grid, noise, resample, smoothstep
from acclimate.synthetic.minerals import MINERALS, NAMES
from acclimate.synthetic.rocks import ROCKS
from acclimate.synthetic.section import Section
from acclimate.synthetic.spectra import FULL_WAVE_NM, interference_colour


@dataclass(frozen=True)
class Microscope:
    """Light path and camera of one acquisition domain.

    Args:
        crossed: analyser in.
        plate: retardation of the compensator in nm.
        thickness: range of the section's thickness in micrometres (30 is standard).
        kelvin: colour temperature of the lamp.
        adaptation: white balance, 0 none, 1 full.
        wider: range of the factor on the field of view.
        blur: range of the defocus, sigma in output pixels.
        noise: range of the noise's standard deviation.
        vignette: fall-off of the light at the corners.
    """

    crossed: bool
    plate: float = 0.0
    thickness: tuple[float, float] = (27.0, 33.0)
    kelvin: float = 5500.0
    adaptation: float = 1.0
    wider: tuple[float, float] = (0.7, 1.3)
    blur: tuple[float, float] = (0.3, 0.8)
    noise: tuple[float, float] = (0.008, 0.025)
    vignette: float = 0.1


ACQUISITIONS = {
    "plane_polarised": Microscope(crossed=False),
    "cross_polarised": Microscope(crossed=True),
    "thick_section_halogen": Microscope(
        crossed=True,
        thickness=(40.0, 55.0),
        kelvin=3000.0,
        adaptation=0.45,
        wider=(1.1, 1.9),
        blur=(0.6, 1.3),
        noise=(0.012, 0.035),
        vignette=0.45,
    ),
    "lambda_plate": Microscope(crossed=True, plate=FULL_WAVE_NM),
}
RESIN_INDEX = 1.54


@lru_cache(maxsize=1)
def _optics() -> dict[str, np.ndarray]:
    """Mineral properties as arrays in the order of `minerals.NAMES`."""
    table = [MINERALS[name] for name in NAMES]
    return {
        "birefringence": np.array([m.birefringence for m in table], F32),
        "index": np.array([m.index for m in table], F32),
        "along": np.array([m.absorption for m in table], F32),
        "across": np.array([m.across or m.absorption for m in table], F32),
        "undulose": np.array([m.undulose for m in table], F32),
        "cloud": np.array([m.cloud for m in table], F32),
        "cracks": np.array([m.cracks for m in table], F32),
        "albite": np.array([m.twin == "albite" for m in table]),
        "tartan": np.array([m.twin == "tartan" for m in table]),
        "calcite": np.array([m.twin == "calcite" for m in table]),
        "in_plane": np.array([m.in_plane for m in table]),
        "sets": np.array([len(m.cleavage) for m in table], np.int32),
        "first": np.radians([m.cleavage[0] if m.cleavage else 0.0 for m in table]).astype(F32),
        "second": np.radians([m.cleavage[1] if len(m.cleavage) > 1 else 0.0 for m in table]).astype(F32),
        "extinction": np.radians([np.nan if m.extinction is None else m.extinction for m in table]).astype(F32),
    }


def _lamellae(
    rng: np.random.Generator, rock: Section, direction: np.ndarray, spacing: np.ndarray, fill: float
) -> np.ndarray:
    """0/1 lamellae of irregular width across `direction` (per grain, radians) at `spacing` (per grain, field units)."""
    ids = rock.ids
    across = np.cos(direction).take(ids) * rock.y - np.sin(direction).take(ids) * rock.x
    steps = np.floor(across / spacing.take(ids) + rng.uniform(0, 500, len(direction)).astype(F32).take(ids))
    pattern = rng.random(1009) < fill
    return pattern[steps.astype(np.int64) % 1009]


def _lines(rock: Section, direction: np.ndarray, spacing: np.ndarray, width: float) -> np.ndarray:
    """Strength 0 to 1 of thin parallel lines across the grains, (n, n)."""
    ids = rock.ids
    across = np.cos(direction).take(ids) * rock.y - np.sin(direction).take(ids) * rock.x
    phase = across / spacing.take(ids)
    distance = np.abs(phase - np.round(phase)) * spacing.take(ids)
    return np.exp(-((distance / F32(width)) ** 2))


def _orient(rng: np.random.Generator, rock: Section, fine: np.ndarray, wander: np.ndarray) -> tuple[np.ndarray, ...]:
    """Angle of the slow axis to the polariser (n, n), sin^2 of the optic axis' tilt (grains,), and index (n, n)."""
    optics, mineral, grain = _optics(), rock.minerals(), rock.ids
    pixel_mineral, count, body = mineral.take(grain), len(mineral), rock.direction()
    tilt = 1 - rng.uniform(0, 1, count).astype(F32) ** 2
    tilt = np.where(optics["in_plane"].take(mineral), F32(0.9), tilt)
    free = rng.uniform(0, np.pi, count).astype(F32)
    extinction = optics["extinction"].take(mineral)
    side = rng.choice([-1, 1], count).astype(F32)
    slow = np.where(np.isnan(extinction), free, body + np.nan_to_num(extinction) * side)
    angle = slow.take(grain) + optics["undulose"].take(pixel_mineral) * (wander + 0.15 * fine)
    index = optics["index"].take(pixel_mineral)

    twin_gap = (rng.uniform(0.006, 0.022, count) * rock.zoom).astype(F32)
    lamella = _lamellae(rng, rock, body, twin_gap, rng.uniform(0.35, 0.6))
    twinned = (rng.random(count) < 0.85).take(grain)
    albite = optics["albite"].take(pixel_mineral) & twinned
    angle = angle + np.where(albite & lamella, rng.uniform(0.35, 0.9, count).astype(F32).take(grain), 0)
    if optics["tartan"].take(mineral).any():
        tartan = optics["tartan"].take(pixel_mineral) & (rng.random(count) < 0.5).take(grain)
        crossed = _lamellae(rng, rock, body + F32(np.pi / 2), twin_gap * 0.7, 0.5)
        angle = angle + np.where(tartan, 0.26 * (lamella.astype(F32) + crossed) + 0.2 * fine, 0)
        perthite = noise(rng, rock.n, 1.4, low=6.0, stretch=0.2, angle=rng.uniform(0, np.pi)) > 1.1
        angle = angle + np.where(optics["tartan"].take(pixel_mineral) & perthite, F32(0.5), 0)
    calcite = optics["calcite"].take(pixel_mineral)
    if calcite.any():
        broad = twin_gap * rng.uniform(0.5, 1.4)
        thin = _lamellae(rng, rock, body + F32(0.6), broad, 0.3) & (rng.random(count) < 0.8).take(grain)
        thin |= _lamellae(rng, rock, body - F32(0.7), broad, 0.22) & (rng.random(count) < 0.4).take(grain)
        angle = angle + np.where(calcite & thin, F32(0.9), 0)
        index = np.where(calcite, 1.658 - 0.17 * tilt.take(grain) * np.cos(angle) ** 2, index)  # twinkling relief
    return angle + rock.turn, tilt, index


def _opacity(
    rng: np.random.Generator, rock: Section, index: np.ndarray, fine: np.ndarray, wander: np.ndarray
) -> np.ndarray:
    """Optical density (n, n, 3) at 30 micrometres: body colour, alteration, relief, cleavage and fractures."""
    optics, mineral, grain, n = _optics(), rock.minerals(), rock.ids, rock.n
    pixel_mineral, count, body = mineral.take(grain), len(mineral), rock.direction()
    pleochroic = np.cos(body.take(grain) + F32(rock.stage)) ** 2
    along, across = optics["along"].take(pixel_mineral, axis=0), optics["across"].take(pixel_mineral, axis=0)
    density = across + (along - across) * pleochroic[..., None]
    speckle = np.clip(fine + 0.7 * wander, 0, None)
    cloud = optics["cloud"].take(pixel_mineral) * rng.uniform(0.2, 1.3, count).astype(F32).take(grain) * speckle
    density = density + (cloud + 1.5 * rock.mud)[..., None] * np.array([0.5, 0.6, 0.75], F32)

    relief = np.abs(index - RESIN_INDEX)
    step_y, step_x = np.gradient(blur(index + 0.02 * (grain % 2), 0.6))
    rim = F32(8.0) * np.hypot(step_x, step_y) + 1.6 * relief * (0.3 + np.clip(fine, 0, None) ** 2)
    line = 0.0016 * rock.zoom + 0.4 / n
    sets = optics["sets"].take(pixel_mineral)
    gap = (rng.uniform(0.022, 0.07, count) * rock.zoom).astype(F32)
    broken = smoothstep(-0.2, 1.0, 0.5 * wander + noise(rng, n, 2.0, low=5.0)) * (0.2 + 5 * relief)
    cleavage = np.where(sets > 0, _lines(rock, body + optics["first"].take(mineral), gap, line), 0)
    if (sets > 1).any():
        second = _lines(rock, body + optics["second"].take(mineral), gap, line)
        cleavage = np.maximum(cleavage, np.where(sets > 1, second, 0))
    vein = noise(rng, n, 2.4, low=3.0)
    fracture = np.exp(-((vein / F32(0.07)) ** 2)) * optics["cracks"].take(pixel_mineral)
    return density + (rim + 0.7 * cleavage * broken + 1.2 * fracture + rock.dirt)[..., None]


def paint(class_name: str, acquisition: str, rng: np.random.Generator, size: int, seed: int) -> np.ndarray:
    """A micrograph, (size, size, 3) in [0, 1]."""
    scope = ACQUISITIONS[acquisition]
    n = size * 3 // 2
    rock = Section(rng, n, 1.0 / rng.uniform(*scope.wider))
    ROCKS[class_name](rock)
    thickness = rng.uniform(*scope.thickness)
    wander = noise(rng, n, 3.0, low=1.5)
    fine = noise(rng, n, 1.2, low=8.0)
    angle, tilt, index = _orient(rng, rock, fine, wander)
    transmitted = np.exp(-_opacity(rng, rock, index, fine, wander) * F32(thickness / 30.0))
    if not scope.crossed:
        return _photograph(rng, transmitted * F32(rng.uniform(0.72, 0.98)), scope, size)
    birefringence = _optics()["birefringence"].take(rock.minerals()) * tilt
    retardation = birefringence.take(rock.ids) * F32(thickness * 1000)
    colour = interference_colour(retardation, angle, scope.kelvin, scope.adaptation, scope.plate)
    image = transmitted * (np.clip(colour, 0, None) * F32(rng.uniform(1.0, 1.7)) + F32(0.006))
    return _photograph(rng, image, scope, size)


def _photograph(rng: np.random.Generator, image: np.ndarray, scope: Microscope, size: int) -> np.ndarray:
    """Lamp fall-off, defocus, camera."""
    x, y = grid(image.shape[0])
    cx, cy = rng.uniform(0.35, 0.65, 2)
    fall = 1 - scope.vignette * rng.uniform(0.6, 1.4) * 2 * ((x - cx) ** 2 + (y - cy) ** 2)
    image = blur(image, rng.uniform(*scope.blur) * 1.5) * fall[..., None]
    image = resample(image, size) * np.exp(rng.normal(0, 0.035, 3)).astype(F32) * F32(rng.uniform(0.8, 1.15))
    display = np.clip(image, 0, None) ** F32(1 / rng.uniform(1.9, 2.3))
    grain = rng.standard_normal(display.shape, dtype=F32) + 0.7 * rng.standard_normal((size, size, 1), dtype=F32)
    return display + F32(rng.uniform(*scope.noise)) * grain * (0.4 + 0.6 * np.sqrt(np.clip(display, 0, 1)))
