"""Satellite scenes: reflectance of land cover, sun and shadows, atmosphere, and the sensor.

At-sensor radiance per band is  L = t * rho * (E_sun * cos(i) * lit + E_sky) + L_path, with Rayleigh and aerosol optical
depths that grow towards the blue (Schott, Remote Sensing: The Image Chain Approach, ch. 4, in a much simplified form).
The land itself is in `satellite_scenes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acclimate.synthetic.fields import F32, blur, noise, resample
from acclimate.synthetic.land import Land
from acclimate.synthetic.satellite_scenes import SCENES


@dataclass(frozen=True)
class Acquisition:
    """Season, light and sensor of one acquisition domain.

    Args:
        season: "summer" or "winter"; decides the state of the vegetation.
        sun: range of the sun's elevation in degrees.
        aerosol: range of the aerosol optical depth at 550 nm.
        coarser: range of the factor by which the ground sampling distance grows.
        blur: range of the point-spread function's sigma in output pixels.
        noise: range of the noise's standard deviation in display units.
        bands: which of blue, green, red, near infrared (0 to 3) become R, G, B.
    """

    season: str
    sun: tuple[float, float]
    aerosol: tuple[float, float]
    coarser: tuple[float, float]
    blur: tuple[float, float]
    noise: tuple[float, float]
    bands: tuple[int, int, int] = (2, 1, 0)


ACQUISITIONS = {
    "summer_optical": Acquisition("summer", (42, 66), (0.03, 0.18), (1.0, 1.2), (0.3, 0.6), (0.004, 0.015)),
    "winter_low_sun": Acquisition("winter", (13, 25), (0.03, 0.15), (1.0, 1.2), (0.3, 0.7), (0.008, 0.022)),
    "hazy_low_resolution": Acquisition("summer", (30, 55), (0.35, 0.8), (2.0, 3.0), (0.5, 0.9), (0.012, 0.03)),
    "false_colour_infrared": Acquisition(
        "summer", (38, 62), (0.04, 0.2), (1.0, 1.6), (0.4, 0.8), (0.006, 0.02), (3, 2, 1)
    ),
}
RAYLEIGH = np.array([0.17, 0.095, 0.045, 0.016], F32)  # vertical optical depth at 480, 560, 660 and 850 nm
AEROSOL = np.array([1.15, 0.98, 0.82, 0.60], F32)  # relative to 550 nm, Angstrom exponent about 1.2


def cast_shadows(height: np.ndarray, pixel: float, elevation: float, azimuth: float) -> np.ndarray:
    """Fraction of direct sunlight that reaches each pixel, (n, n), by doubling sweeps towards the sun.

    Args:
        height: (n, n) surface height in metres.
        pixel: metres per pixel.
        elevation: of the sun, radians.
        azimuth: direction to the sun in the image, radians from +x towards +y.
    """
    reach = min(float(np.ptp(height)) / np.tan(elevation) / pixel, height.shape[0] * 0.6)
    horizon, steps = height, 1
    while steps <= max(reach, 1.0):
        dx, dy = round(steps * np.cos(azimuth)), round(steps * np.sin(azimuth))
        drop = F32(np.hypot(dx, dy) * pixel * np.tan(elevation))
        horizon = np.maximum(horizon, _shifted(horizon, dx, dy) - drop)
        steps *= 2
    return 1.0 - np.clip((horizon - height) / F32(max(0.5, 0.4 * pixel)), 0.0, 1.0)


def _shifted(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """The image read at (x + dx, y + dy), with its border repeated."""
    n = image.shape[0]
    rows = np.clip(np.arange(n) + dy, 0, n - 1)
    cols = np.clip(np.arange(n) + dx, 0, n - 1)
    return image[rows][:, cols]


def illuminate(land: Land, aerosol: float, elevation: float, azimuth: float) -> np.ndarray:
    """At-sensor radiance, (n, n, 4), in units of the extraterrestrial irradiance over pi."""
    slope_y, slope_x = np.gradient(land.relief, land.pixel)
    slope_x, slope_y = np.clip(slope_x, -1.2, 1.2), np.clip(slope_y, -1.2, 1.2)
    toward = np.cos(azimuth) * slope_x + np.sin(azimuth) * slope_y
    cosine = (np.sin(elevation) - np.cos(elevation) * toward) / np.sqrt(1 + slope_x**2 + slope_y**2)
    lit = cast_shadows(land.relief + land.objects, land.pixel, elevation, azimuth)
    direct = (np.clip(cosine * land.facet, 0.0, None) * lit).astype(F32)
    depth = RAYLEIGH + aerosol * AEROSOL
    sun = np.exp(-depth / np.sin(elevation))
    scattered = (1 - sun) * np.sin(elevation)
    up = np.exp(-0.6 * depth)
    path = 0.16 * scattered * (0.45 + 0.55 * aerosol)
    return up * land.reflectance * (direct[..., None] * sun + 0.45 * scattered) + path


def paint(class_name: str, acquisition: str, rng: np.random.Generator, size: int, seed: int) -> np.ndarray:
    """A scene as a sensor delivers it, (size, size, 3) in [0, 1]."""
    sensor = ACQUISITIONS[acquisition]
    elevation = np.radians(rng.uniform(*sensor.sun))
    azimuth = rng.uniform(0, 2 * np.pi)
    n = size * 3 // 2
    land = Land(rng, n, sensor.season, azimuth)
    SCENES[class_name](land)
    land.finish()
    radiance = illuminate(land, rng.uniform(*sensor.aerosol), elevation, azimuth)
    image = radiance[..., list(sensor.bands)]
    coarse = max(16, round(size / rng.uniform(*sensor.coarser)))
    image = blur(image, rng.uniform(*sensor.blur) * n / coarse)
    image = resample(image, coarse)
    bright = np.quantile(image[::2, ::2], 0.985)
    exposure = 0.6 * bright + 0.4 * 0.22  # between a stretch to the scene and a fixed gain
    image = 0.92 * image / exposure * rng.uniform(0.85, 1.12)
    image = image * (1 + 0.04 * rng.standard_normal(3)).astype(F32)
    image = resample(image, size)
    image = np.clip(image, 0, None) ** F32(1 / rng.uniform(1.7, 2.2))
    sigma = rng.uniform(*sensor.noise)
    grain = rng.standard_normal(image.shape, dtype=F32)
    if rng.random() < 0.3:
        grain += 0.5 * noise(rng, size, 0.0, stretch=16.0, angle=0.0)[..., None]  # striping of a push-broom line array
    return image + sigma * grain
