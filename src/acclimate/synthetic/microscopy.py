"""Histology: stained tissue sections under a bright-field or a fluorescence microscope.

Bright field follows Beer and Lambert: the optical density of each colour channel is the sum over stains of
concentration times the stain's vector,  I = I0 * 10^-(sum_s c_s v_s)  (Ruifrok and Johnston 2001; stain vectors near
those of Macenko et al. 2009). The tissues are in `tissues`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acclimate.synthetic.fields import F32, blur, grid, noise, resample, smoothstep
from acclimate.synthetic.slide import Slide
from acclimate.synthetic.tissues import TISSUES

HAEMATOXYLIN = (0.56, 0.72, 0.41)  # optical density in R, G, B per unit of concentration
EOSIN = (0.14, 0.83, 0.54)
BLOOD = (0.10, 0.75, 0.66)  # erythrocytes


@dataclass(frozen=True)
class Laboratory:
    """Staining and optics of one acquisition domain.

    Args:
        haematoxylin: range of the amount of nuclear stain.
        eosin: range of the amount of counter-stain.
        hue: standard deviation of the stain vectors.
        blur: range of the defocus, sigma in output pixels.
        noise: range of the noise's standard deviation.
        lamp: colour of the empty field.
        frozen: ice-crystal holes, swollen nuclei, uneven staining.
        fluorescence: nuclear dye and autofluorescence on black instead of absorption on white.
    """

    haematoxylin: tuple[float, float]
    eosin: tuple[float, float]
    hue: float
    blur: tuple[float, float]
    noise: tuple[float, float]
    lamp: tuple[float, float, float] = (0.96, 0.95, 0.96)
    frozen: bool = False
    fluorescence: bool = False


ACQUISITIONS = {
    "lab_a_he": Laboratory((0.75, 1.15), (0.35, 0.60), 0.03, (0.3, 0.8), (0.008, 0.02)),
    "lab_b_eosin_defocus": Laboratory((0.45, 0.75), (0.65, 1.05), 0.05, (0.9, 1.9), (0.01, 0.025), (0.97, 0.93, 0.90)),
    "frozen_section": Laboratory(
        (0.65, 1.2), (0.22, 0.45), 0.05, (0.6, 1.2), (0.01, 0.03), (0.90, 0.92, 0.97), frozen=True
    ),
    "fluorescence": Laboratory((0.6, 1.2), (0.3, 1.0), 0.0, (0.4, 1.1), (0.015, 0.05), fluorescence=True),
}


def absorb(concentrations: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Transmission (..., 3) of stains by the Beer-Lambert law.

    Args:
        concentrations: (..., stains).
        vectors: (stains, 3) optical density of each stain in R, G, B.
    """
    return np.exp(F32(-np.log(10.0)) * (concentrations @ vectors)).astype(F32)


def paint(class_name: str, acquisition: str, rng: np.random.Generator, size: int, seed: int) -> np.ndarray:
    """A field of view, (size, size, 3) in [0, 1]."""
    lab = ACQUISITIONS[acquisition]
    n = size * 3 // 2
    slide = Slide(rng, n, swollen=1.2 if lab.frozen else 1.0)
    TISSUES[class_name](slide)
    slide.finish()
    if lab.frozen:
        _freeze(slide)
    amounts = rng.uniform(*lab.haematoxylin), rng.uniform(*lab.eosin)
    blurred = rng.uniform(*lab.blur) * n / size
    image = _fluoresce(slide, amounts) if lab.fluorescence else _stain(slide, lab, amounts)
    depth = blurred * np.exp(0.3 * rng.standard_normal())
    image = blur(image, depth)
    x, y = grid(n)
    cx, cy = rng.uniform(0.3, 0.7, 2)
    image = image * (1 - rng.uniform(0.0, 0.25) * 2 * ((x - cx) ** 2 + (y - cy) ** 2))[..., None]
    image = resample(image, size)
    if not lab.fluorescence:
        sharpen = rng.uniform(0, 0.6)
        image = image + F32(sharpen) * (image - blur(image, 1.0))
        image = np.clip(image, 0, 1) ** F32(1 / rng.uniform(1.0, 1.45))
    grain = rng.standard_normal((size, size, 3), dtype=F32) + rng.standard_normal((size, size, 1), dtype=F32)
    return image + F32(rng.uniform(*lab.noise)) * grain * 0.8


def _stain(slide: Slide, lab: Laboratory, amounts: tuple[float, float]) -> np.ndarray:
    """Bright field."""
    rng = slide.rng
    vectors = np.array([HAEMATOXYLIN, EOSIN, BLOOD]) + rng.normal(0, lab.hue, (3, 3)) * (1, 0.5, 1)
    vectors = np.clip(vectors, 0.02, 1).astype(F32)
    uneven = np.exp(F32(0.25 if lab.frozen else 0.08) * noise(rng, slide.n, 3.6, low=0.6, high=4.0))
    stains = np.stack([slide.nuclear * amounts[0], slide.eosin * amounts[1], slide.blood * 0.5], axis=-1)
    lamp = np.array(lab.lamp, F32) * np.exp(rng.normal(0, 0.015, 3)).astype(F32) * F32(rng.uniform(0.9, 1.02))
    return lamp * absorb(stains * uneven[..., None], vectors)


def _fluoresce(slide: Slide, amounts: tuple[float, float]) -> np.ndarray:
    """Emission: nuclei in blue, cytoplasm and collagen in green, blood and elastin in orange."""
    rng = slide.rng
    nuclei = np.clip(slide.nuclear - 0.12, 0, None) * F32(amounts[0] * 0.95)
    fibres = np.clip(slide.eosin - 0.15, 0, None) * F32(amounts[1] * 0.55)
    colours = np.array([[0.10, 0.22, 1.0], [0.10, 0.80, 0.25], [0.9, 0.45, 0.1]], F32)
    colours = colours * np.exp(rng.normal(0, 0.15, (3, 3))).astype(F32)
    image = np.stack([nuclei, fibres, 0.3 * slide.blood], axis=-1) @ colours
    haze = blur(image, slide.n / 24)  # light from out of focus
    image = 0.85 * image + F32(rng.uniform(0.1, 0.35)) * haze + F32(rng.uniform(0.0, 0.03))
    photons = rng.uniform(60, 300)
    return np.clip(
        image + np.sqrt(np.clip(image, 0, None) / photons) * rng.standard_normal(image.shape, dtype=F32), 0, None
    )


def _freeze(slide: Slide) -> None:
    """Ice-crystal clefts and holes, and sometimes a fold."""
    rng, n = slide.rng, slide.n
    ice = noise(rng, n, 1.8, low=5.0, high=26.0, stretch=0.5, angle=rng.uniform(0, np.pi))
    holes = smoothstep(1.0, 1.5, ice + 0.3 * noise(rng, n, 3.0) - rng.uniform(-0.2, 0.8))
    for name in ("nuclear", "eosin", "blood"):
        setattr(slide, name, getattr(slide, name) * (1 - 0.85 * holes))
    if rng.random() < 0.25:
        across = np.cos(slide.angle) * (slide.x - slide.extent / 2) + np.sin(slide.angle) * (slide.y - slide.extent / 2)
        fold = np.exp(
            -(((across + 12 * noise(rng, n, 4.0, high=4.0) - rng.normal(0, 40)) / F32(rng.uniform(4, 12))) ** 2)
        )
        slide.nuclear, slide.eosin = slide.nuclear * (1 + fold), slide.eosin * (1 + fold)
