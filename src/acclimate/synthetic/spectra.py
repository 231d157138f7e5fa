"""Light to colour: CIE colour matching, illuminants, and interference colours between crossed polarisers.

Colour-matching functions are the multi-lobe Gaussian fits of Wyman, Sloan and Shirley (2013), "Simple analytic
approximations to the CIE XYZ color matching functions". Linear RGB has the sRGB primaries.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from acclimate.synthetic.fields import F32

WAVELENGTHS = np.arange(390.0, 731.0, 5.0)  # nm
XYZ_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
FULL_WAVE_NM = 530.0  # retardation of a first-order red (lambda) plate
RETARDATION_STEP = 8.0  # nm, of the look-up tables
RETARDATION_END = 9000.0  # nm; beyond it all colours are the white of higher order
ANGLES = 64  # steps of the orientation over a half turn in the look-up tables


def colour_matching(wavelength: np.ndarray) -> np.ndarray:
    """CIE 1931 x, y, z at wavelengths in nm, (k, 3)."""

    def lobe(peak: float, below: float, above: float) -> np.ndarray:
        t = (wavelength - peak) * np.where(wavelength < peak, below, above)
        return np.exp(-0.5 * t * t)

    x = 0.362 * lobe(442.0, 0.0624, 0.0374) + 1.056 * lobe(599.8, 0.0264, 0.0323) - 0.065 * lobe(501.1, 0.0490, 0.0382)
    y = 0.821 * lobe(568.8, 0.0213, 0.0247) + 0.286 * lobe(530.9, 0.0613, 0.0322)
    z = 1.217 * lobe(437.0, 0.0845, 0.0278) + 0.681 * lobe(459.0, 0.0385, 0.0725)
    return np.stack([x, y, z], axis=-1)


def black_body(wavelength: np.ndarray, kelvin: float) -> np.ndarray:
    """Planck's law at wavelengths in nm, relative to 560 nm."""

    def planck(nm: np.ndarray) -> np.ndarray:
        return nm**-5.0 / np.expm1(1.4388e7 / (nm * kelvin))

    return planck(wavelength) / planck(np.array(560.0))


def to_rgb(spectrum: np.ndarray, kelvin: float = 5500.0, adaptation: float = 1.0) -> np.ndarray:
    """Linear RGB (..., 3) of transmission spectra (..., len(WAVELENGTHS)); a clear field is white.

    Args:
        spectrum: transmission, 0 to 1, at `WAVELENGTHS`.
        kelvin: colour temperature of the lamp.
        adaptation: how far the camera's white balance removes the lamp's colour, 0 to 1 (gains to a grey world).
    """
    matching = colour_matching(WAVELENGTHS) * black_body(WAVELENGTHS, kelvin)[:, None]
    daylight = colour_matching(WAVELENGTHS) * black_body(WAVELENGTHS, 5500.0)[:, None]
    reference = (XYZ_TO_RGB @ daylight.sum(axis=0)) / daylight[:, 1].sum()
    rgb = (spectrum @ matching) @ XYZ_TO_RGB.T / matching[:, 1].sum()
    white = (matching.sum(axis=0) @ XYZ_TO_RGB.T) / matching[:, 1].sum()
    gain = (1 / np.clip(white, 0.05, None)) ** adaptation * (1 / reference) ** (1 - adaptation)
    return rgb * gain


@lru_cache(maxsize=16)
def crossed_polar_table(kelvin: float = 5500.0, adaptation: float = 1.0, plate: float = 0.0) -> np.ndarray:
    """Linear RGB behind crossed polarisers, (retardation, angle, 3) float32; the Michel-Levy chart at 45 degrees.

    Jones calculus for a crystal of retardation G at angle a to the polariser, followed by a plate at 45 degrees.
    Without the plate this is the textbook  I = sin^2(2a) sin^2(pi G / lambda).

    Args:
        kelvin: colour temperature of the lamp.
        adaptation: white balance, as in `to_rgb`.
        plate: retardation of the compensator in nm; 0 for none, 530 for a first-order red plate.
    """
    retardation = np.arange(0.0, RETARDATION_END, RETARDATION_STEP)
    angle = np.arange(ANGLES) * np.pi / ANGLES
    half = np.pi * retardation[:, None] / WAVELENGTHS
    plate_half = np.pi * plate / WAVELENGTHS
    cos_plate, sin_plate = np.cos(plate_half), np.sin(plate_half)
    # crystal on (1, 0): x = cos(half) + i sin(half) cos 2a, y = i sin(half) sin 2a; the plate mixes i sin(p) x into y
    c2, s2 = np.cos(2 * angle)[None, :, None], np.sin(2 * angle)[None, :, None]
    real = -sin_plate * np.sin(half)[:, None, :] * c2
    imaginary = cos_plate * np.sin(half)[:, None, :] * s2 + sin_plate * np.cos(half)[:, None, :]
    rgb = to_rgb(real**2 + imaginary**2, kelvin, adaptation)
    # colours outside the display's gamut are greyed until they fit, at equal mean
    excess = np.clip(-rgb.min(axis=-1, keepdims=True), 0, None)
    mean = np.clip(rgb.mean(axis=-1, keepdims=True), 1e-6, None)
    return (mean * (rgb + excess) / (mean + excess)).astype(F32)


def interference_colour(
    retardation: np.ndarray, angle: np.ndarray, kelvin: float = 5500.0, adaptation: float = 1.0, plate: float = 0.0
) -> np.ndarray:
    """Linear RGB (..., 3) of a crystal between crossed polarisers.

    Args:
        retardation: birefringence times thickness, in nm.
        angle: of the slow axis to the polariser, radians.
        kelvin: colour temperature of the lamp.
        adaptation: white balance, as in `to_rgb`.
        plate: retardation of a compensator in nm.
    """
    table = crossed_polar_table(kelvin, adaptation, plate)
    row = np.clip(retardation / RETARDATION_STEP, 0, len(table) - 1).astype(np.int32)
    column = np.round(angle * (ANGLES / np.pi)).astype(np.int32) % ANGLES
    return table.reshape(-1, 3).take(row * ANGLES + column, axis=0)
