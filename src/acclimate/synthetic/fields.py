"""Random fields, tessellations and small image operators that all synthetic domains share.

Everything is float32 and single-threaded: fast at 128 pixels, and the same on every call.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy import fft, ndimage

F32 = np.float32


def generator(*parts: object) -> np.random.Generator:
    """A random generator seeded by SHA-256 over the parts, so that it does not depend on call order or platform."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres x (to the right) and y (down) of an n x n image in the unit square, both (n, n)."""
    axis = (np.arange(n, dtype=F32) + F32(0.5)) / F32(n)
    return np.broadcast_to(axis[None, :], (n, n)).copy(), np.broadcast_to(axis[:, None], (n, n)).copy()


def rotate(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a direction that makes `angle` (radians) with the x axis."""
    c, s = F32(np.cos(angle)), F32(np.sin(angle))
    return c * x + s * y, c * y - s * x


@lru_cache(maxsize=256)
def _spectrum(n: int, beta: float, low: float, high: float, stretch: float, angle: float) -> np.ndarray:
    """Amplitude filter sqrt(k^-beta) between two cut-off wave numbers (cycles per image), unit variance."""
    kx, ky = fft.rfftfreq(n) * n, fft.fftfreq(n)[:, None] * n
    c, s = np.cos(angle), np.sin(angle)
    along, across = (c * kx + s * ky) * stretch, c * ky - s * kx
    k = np.hypot(along, across)
    k[0, 0] = 1.0
    amplitude = k ** (-beta / 2.0) * np.exp(-((k / high) ** 4)) * (1.0 - np.exp(-((k / low) ** 4)))
    amplitude[0, 0] = 0.0
    # Hermitian half: interior columns stand for two modes
    weight = np.full(amplitude.shape[1], 2.0)
    weight[0] = 1.0
    variance = float((amplitude**2 * weight).sum()) / n**2
    return (amplitude / np.sqrt(max(variance, 1e-30))).astype(F32)


def noise(
    rng: np.random.Generator,
    n: int,
    beta: float = 3.0,
    low: float = 0.5,
    high: float = 1e6,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> np.ndarray:
    """Gaussian random field by spectral synthesis, (n, n), mean 0 and variance 1 in expectation.

    Args:
        rng: source of the field.
        n: edge in pixels.
        beta: slope of the power spectrum, S(k) ~ k^-beta (2 to 4 for natural terrain).
        low: wave number in cycles per image below which power is removed.
        high: wave number above which power is removed.
        stretch: correlation length along `angle` divided by the one across it; quantise it, filters are cached.
        angle: direction of the stretch in radians, quantised to one degree.
    """
    step = np.pi / 180.0
    white = rng.standard_normal((n, n), dtype=F32)
    turned = round(angle / step) * step if stretch != 1.0 else 0.0
    return fft.irfft2(fft.rfft2(white) * _spectrum(n, beta, low, high, stretch, turned), s=(n, n))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur over the first two axes, sigma in pixels."""
    if sigma < 0.2:
        return image
    if image.ndim == 2:
        return ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=3.0)
    return np.stack([blur(image[..., band], sigma) for band in range(image.shape[2])], axis=-1)


def resample(image: np.ndarray, size: int) -> np.ndarray:
    """Area-weighted resize of (n, n) or (n, n, C) floats to `size` pixels, as a detector integrates over its cells."""
    if image.shape[0] == size:
        return image
    if image.ndim == 3:
        return np.stack([resample(image[..., band], size) for band in range(image.shape[2])], axis=-1)
    shrink = size < image.shape[0]
    method = Image.Resampling.BOX if shrink else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(np.ascontiguousarray(image, dtype=F32)).resize((size, size), method))


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Smooth ramp from 0 at `low` to 1 at `high`."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(base: np.ndarray, other: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Blend two (n, n, C) arrays, or colours that broadcast to it, by a weight (n, n) in [0, 1]."""
    w = weight[..., None]
    return base * (1.0 - w) + other * w


@dataclass(frozen=True)
class Cells:
    """A tessellation of the plane.

    Args:
        index: (n, n) number of the cell a pixel belongs to.
        near: (n, n) power distance to the cell's seed, in squared cell units.
        edge: (n, n) distance to the nearest cell boundary, roughly, in cell units.
        x: (count,) seed positions in cell units.
        y: (count,) seed positions in cell units.
    """

    index: np.ndarray
    near: np.ndarray
    edge: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def count(self) -> int:
        """Number of cells in the table, visible or not."""
        return len(self.x)


def cellular(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, jitter: float = 0.9, spread: float = 0.0) -> Cells:
    """Power diagram (Laguerre tessellation) of jittered lattice seeds, one seed per unit square.

    Args:
        rng: source of the seeds.
        x: (n, n) coordinates in cell units; warped coordinates give curved boundaries.
        y: as x.
        jitter: how far seeds leave the lattice, 0 (square lattice) to 1.
        spread: width of the random power weights, 0 (Voronoi) to about 0.5; more spreads the grain sizes.
    """
    left, top = int(np.floor(x.min())) - 1, int(np.floor(y.min())) - 1
    width, height = int(np.floor(x.max())) - left + 2, int(np.floor(y.max())) - top + 2
    count = width * height
    cols, rows = np.meshgrid(np.arange(width, dtype=F32), np.arange(height, dtype=F32))
    offset = rng.uniform(0.5 - jitter / 2, 0.5 + jitter / 2, (2, count)).astype(F32)
    px, py = cols.ravel() + offset[0], rows.ravel() + offset[1]
    weight = (spread * rng.uniform(0, 1, count)).astype(F32)
    gx, gy = x - F32(left), y - F32(top)
    base = gy.astype(np.int32) * width + gx.astype(np.int32)
    best = np.full(x.shape, 1e9, F32)
    second = np.full(x.shape, 1e9, F32)
    index = np.zeros(x.shape, np.int32)
    for step_y in (-1, 0, 1):
        for step_x in (-1, 0, 1):
            cell = base + (step_y * width + step_x)
            distance = (px.take(cell) - gx) ** 2 + (py.take(cell) - gy) ** 2 - weight.take(cell)
            np.minimum(second, np.maximum(best, distance), out=second)
            closer = distance < best
            np.copyto(index, cell, where=closer)
            np.minimum(best, distance, out=best)
    return Cells(index, best, (second - best) * F32(0.5), px + left, py + top)
