"""SAR target chips: geometry, speckle and the impulse response of a side-looking radar.

Range runs downwards, azimuth to the right. A point at height z appears at ground range  y - z / tan(theta)  (layover);
what lies behind an object up to  z * tan(theta)  is dark (shadow). Extended surfaces return a circular complex Gaussian
field, so that the intensity of one look is exponential and that of L looks a gamma variable with a coefficient of
variation of 1 / sqrt(L) (Lee 1980; Goodman 1976); a log-normal texture multiplies it. The
band-limited spectrum is Taylor weighted (Taylor 1955). Targets are in `sar_targets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from acclimate.synthetic.canvas import Canvas, turn
from acclimate.synthetic.fields import F32, blur, generator, noise, smoothstep
from acclimate.synthetic.sar_targets import DOUBLE, SURFACE, TARGETS, VOLUME, Target


@dataclass(frozen=True)
class Radar:
    """One acquisition domain.

    Args:
        looks: independent looks averaged in intensity.
        incidence: range of the incidence angle in degrees from the vertical.
        band: range of the processed bandwidth as a share of the sampling rate; smaller is a coarser resolution.
        clutter: range of the clutter level in dB relative to the mean of all.
        persistence: how much of the point scatterers' aspect dependence remains; longer waves see smoother objects.
        gamma: range of the display exponent on the amplitude.
        pauli: show double bounce, volume and surface in red, green and blue.
    """

    looks: int
    incidence: tuple[float, float]
    band: tuple[float, float]
    clutter: tuple[float, float]
    persistence: float = 1.0
    gamma: tuple[float, float] = (0.7, 1.0)
    pauli: bool = False


ACQUISITIONS = {
    "x_band_single_look": Radar(1, (33, 48), (0.50, 0.75), (-9.0, -3.0), gamma=(0.85, 1.2)),
    "c_band_four_look": Radar(4, (30, 45), (0.32, 0.48), (-8.0, -2.0), 0.8, (0.7, 1.0)),
    "x_band_steep": Radar(1, (17, 25), (0.50, 0.75), (-6.0, 1.0), 1.0, (0.85, 1.2)),
    "l_band_pauli": Radar(3, (30, 42), (0.34, 0.50), (-8.0, -2.0), 0.55, (0.5, 0.75), pauli=True),
}


_WALL_HEIGHTS = generator("wall heights").random(4096).astype(F32)  # where along its height a wall returns


@lru_cache(maxsize=32)
def taylor_window(n: int, band: float, sidelobe: float = 32.0, terms: int = 5) -> np.ndarray:
    """Taylor weighting of a centred band, in FFT order, (n,) with zeros outside the band.

    Args:
        n: length.
        band: processed share of the spectrum, 0 to 1.
        sidelobe: peak sidelobe level below the main lobe, in dB.
        terms: number of nearly equal sidelobes plus one.
    """
    a = np.arccosh(10 ** (sidelobe / 20)) / np.pi
    stretch = terms**2 / (a**2 + (terms - 0.5) ** 2)
    orders = np.arange(1, terms)
    position = fft.fftfreq(n) / band
    window = np.ones(n)
    for m in orders:
        numerator = np.prod(1 - m**2 / stretch / (a**2 + (orders - 0.5) ** 2))
        denominator = np.prod([1 - m**2 / j**2 for j in orders if j != m])
        window += (-1) ** (m + 1) * numerator / denominator * np.cos(2 * np.pi * m * position)
    return np.where(np.abs(position) <= 0.5, window, 0.0).astype(F32)


def focus(
    rng: np.random.Generator,
    power: np.ndarray,
    points: np.ndarray,
    band: float,
    looks: int = 1,
    defocus: float = 0.0,
) -> np.ndarray:
    """Intensity image (n, n) of distributed and point targets after focusing and multi-looking.

    Args:
        rng: source of the speckle.
        power: (n, n) mean backscattered power of distributed surfaces.
        points: (n, n) amplitude of point scatterers at their pixels.
        band: processed share of the spectrum in both directions.
        looks: number of looks.
        defocus: quadratic phase error at the edge of the azimuth band, radians.
    """
    n = power.shape[0]
    row = taylor_window(n, round(band, 2))
    transfer = (row[:, None] * row[None, :]).astype(np.complex64)
    transfer = transfer * F32(1 / np.sqrt(float((np.abs(transfer) ** 2).mean())))  # keeps the mean power
    if defocus:
        azimuth = fft.fftfreq(n) / band * 2
        transfer = transfer * np.exp(1j * defocus * azimuth**2).astype(np.complex64)[None, :]
    spread = np.sqrt(power / 2)
    lit = np.flatnonzero(points)
    total = np.zeros((n, n), F32)
    for _ in range(looks):
        draw = rng.standard_normal((2, n, n), dtype=F32)
        field = spread * draw[0] + 1j * (spread * draw[1])
        phase = np.exp(2j * np.pi * rng.random(len(lit))).astype(np.complex64)
        field.ravel()[lit] += points.ravel()[lit] * phase
        image = fft.ifft2(fft.fft2(field) * transfer)
        total += image.real**2 + image.imag**2
    return total / F32(looks)


@dataclass
class Ground:
    """What the radar looks at: height and, per scattering mechanism, backscatter, on a ground grid."""

    height: np.ndarray
    power: np.ndarray  # (3, n, n): double bounce, volume, surface


def clutter(rng: np.random.Generator, n: int, pixel: float, at_sea: bool, level: float) -> Ground:
    """Sea, or land with grass, apron, trees, walls and the like around the target.

    Args:
        rng: source of everything random.
        n: edge in pixels.
        pixel: metres per pixel.
        at_sea: water instead of land.
        level: mean backscatter in linear units.
    """
    height, power = np.zeros((n, n), F32), np.zeros((3, n, n), F32)
    spikes = rng.uniform(1.2, 6) if at_sea else rng.uniform(4, 20)
    texture = np.exp(noise(rng, n, 0.8, low=2.0) * F32(1 / np.sqrt(spikes)) - F32(0.5 / spikes))
    if at_sea:
        swell = 1 + rng.uniform(0, 0.5) * noise(rng, n, 1.0, low=6, high=16, stretch=0.25, angle=rng.uniform(0, np.pi))
        power[SURFACE] = F32(0.5 * level) * texture * np.clip(swell, 0.1, None)
        power[VOLUME] = 0.05 * power[SURFACE]
        return Ground(height, power)
    patches = noise(rng, n, 3.0)
    rough = np.exp(F32(rng.uniform(0.1, 0.7)) * np.sign(patches - rng.uniform(-1.5, 1.5)))
    power[SURFACE] = F32(level) * texture * rough
    power[VOLUME] = power[SURFACE] * F32(rng.uniform(0.1, 0.6))
    if rng.random() < 0.18:  # vegetation: bright volume, radar shadow behind
        crowns = smoothstep(rng.uniform(1.0, 1.8), 2.0, noise(rng, n, 2.8, low=1.0))
        height += crowns * F32(min(rng.uniform(3, 12), 0.1 * n * pixel)) * (0.8 + 0.2 * noise(rng, n, 1.0, low=8))
        power[VOLUME] += crowns * F32(3.0 * level) * texture
    if rng.random() < 0.4:  # a road or taxiway, smooth and dark
        canvas = Canvas(n, n * pixel, 1)
        ends = rng.uniform(0, 1, (2, 2)) * n * pixel
        reach = (ends[1] - ends[0]) * 4
        canvas.line(np.stack([ends[0] - reach, ends[1] + reach]), n * pixel * rng.uniform(0.08, 0.3), (0.0,))
        power *= np.where(canvas.ids() > 0, F32(rng.uniform(0.08, 0.3)), F32(1.0))
    return Ground(np.clip(height, 0, None).astype(F32), power)


def project(ground: Ground, pixel: float, incidence: float, face: float) -> tuple[np.ndarray, np.ndarray]:
    """Map the ground into the image: layover, foreshortening, shadow, walls and their double bounce.

    Args:
        ground: the scene, range downwards.
        pixel: metres per pixel.
        incidence: angle from the vertical, radians.
        face: backscatter of a metre of wall per pixel.

    Returns:
        Mean power per mechanism (3, n, n), and the height in metres above which a point in each ground cell is seen
        past what stands nearer to the radar (n, n).
    """
    height, n = ground.height, ground.height.shape[0]
    cot = F32(1 / np.tan(incidence))
    sight = height + (np.arange(n, dtype=F32) * F32(pixel) * cot)[:, None]
    horizon = np.maximum.accumulate(sight, axis=0)
    seen = horizon - sight <= F32(1e-3)
    nearer = np.full_like(horizon, -1e6)
    nearer[2:] = horizon[:-2]  # not the object that the point itself belongs to
    past = nearer - (np.arange(n, dtype=F32) * F32(pixel) * cot)[:, None]
    columns = np.broadcast_to(np.arange(n)[None, :], (n, n))
    rows = np.broadcast_to(np.arange(n)[:, None], (n, n))
    shift = height * (cot / F32(pixel))
    power = np.zeros((3, n, n), F32)
    flat_row = np.clip(np.round(rows - shift), 0, n - 1).astype(np.int64)
    target = (flat_row * n + columns)[seen]
    for mechanism in range(3):
        power[mechanism] = np.bincount(target, ground.power[mechanism][seen], n * n).reshape(n, n)
    rise = np.diff(height, axis=0, prepend=height[:1])
    walls = np.flatnonzero((rise > 0.25) & seen)
    if len(walls):
        soft = blur(height, 1.5)
        slope_y, slope_x = np.gradient(soft)
        square = (np.abs(slope_y) / np.maximum(np.hypot(slope_x, slope_y), 1e-3)).ravel()[walls]  # 1: faces the radar
        wall_row, wall_col, step = walls // n, walls % n, rise.ravel()[walls]
        base = height.ravel()[walls] - step
        for share in _WALL_HEIGHTS.take(np.arange(len(walls))[:, None] * 7919 + np.arange(5), mode="wrap").T:
            row = np.clip(np.round(wall_row - (base + share * step) * cot / pixel), 0, n - 1).astype(np.int64)
            power[SURFACE] += np.bincount(row * n + wall_col, face * 0.2 * step * (0.2 + square**6), n * n).reshape(
                n, n
            )
        row = np.clip(np.round(wall_row - base * cot / pixel), 0, n - 1).astype(np.int64)
        power[DOUBLE] += np.bincount(row * n + wall_col, face * 1.6 * step * square**14, n * n).reshape(n, n)
    return power, past


def place(
    target: Target, ground: Ground, aspect: float, centre: np.ndarray, extent: float, roof: float, land: float
) -> None:
    """Put the target's body on the ground: its height and the weak return of its upper surfaces."""
    n = ground.height.shape[0]
    canvas = Canvas(n, extent, 1)
    for bank in target.banks:
        canvas.polygon(turn(np.asarray(bank, F32), aspect) + centre, (1.0,))
    ground.power = np.where(canvas.ids() > 0, ground.power * land, ground.power)
    canvas = Canvas(n, extent, 1)
    for shape, top in sorted(target.bodies, key=lambda body: body[1]):
        canvas.polygon(turn(np.asarray(shape, F32), aspect) + centre, (top,))
    body = canvas.table()[:, 0].take(canvas.ids())
    covered = canvas.ids() > 0
    ground.height = np.where(covered, body, ground.height)
    ground.power[:, covered] = F32(roof / 3)


def scatterers(
    rng: np.random.Generator,
    target: Target,
    aspect: float,
    centre: np.ndarray,
    geometry: tuple[float, float, np.ndarray],
    persistence: float,
) -> np.ndarray:
    """Amplitude (3, n, n) of the target's point scatterers that the radar sees at this aspect.

    Args:
        rng: source of missing scatterers and of scintillation.
        target: with points as rows of x, y, z, amplitude, mechanism, normal, lobe.
        aspect: rotation of the body, radians.
        centre: of the body on the ground, metres.
        geometry: metres per pixel, incidence, height above which a cell is seen.
        persistence: exponent on the aspect pattern, 1 full, 0 none.
    """
    pixel, incidence, past = geometry
    n = past.shape[0]
    rows = np.array(target.points, F32)
    spot = turn(rows[:, :2], aspect) + centre
    z, amplitude, mechanism, lobe = rows[:, 2], rows[:, 3], rows[:, 4].astype(int), rows[:, 6]
    look = -np.pi / 2  # the radar stands at the top of the image
    off = np.angle(np.exp(1j * (rows[:, 5] + aspect - look)))
    pattern = np.where(lobe > 0, np.exp(-((off / np.maximum(lobe, 1e-3)) ** 2)) + 0.05, 1.0) ** persistence
    bright = amplitude * pattern * np.exp(0.45 * rng.standard_normal(len(rows))) * (rng.random(len(rows)) < 0.93)
    column, ground_row = spot[:, 0] / pixel - 0.5, spot[:, 1] / pixel - 0.5
    cell_x = np.clip(np.round(column), 0, n - 1).astype(int)
    cell_y = np.clip(np.round(ground_row), 0, n - 1).astype(int)
    visible = smoothstep(-1.0, 0.3, z + 0.3 * pixel - past[cell_y, cell_x])
    visible = np.where(z < 0, 1.0, visible)  # images in the water
    row = ground_row - z / np.tan(incidence) / pixel
    image = np.zeros((3, n, n), F32)
    inside = (column >= 0) & (row >= 0) & (column < n - 1) & (row < n - 1)
    left, top = np.floor(column[inside]).astype(int), np.floor(row[inside]).astype(int)
    fx, fy = column[inside] - left, row[inside] - top
    value = (bright * visible)[inside]
    for dx, dy, weight in ((0, 0, (1 - fx) * (1 - fy)), (1, 0, fx * (1 - fy)), (0, 1, (1 - fx) * fy), (1, 1, fx * fy)):
        np.add.at(image, (mechanism[inside], top + dy, left + dx), value * weight)
    return image


def paint(class_name: str, acquisition: str, rng: np.random.Generator, size: int, seed: int) -> np.ndarray:
    """A detected chip, (size, size, 3) in [0, 1]."""
    radar = ACQUISITIONS[acquisition]
    target = TARGETS[class_name](rng)
    n = fft.next_fast_len(size * 5 // 4)
    extent = target.extent * rng.uniform(1.0, 1.25) * n / size
    pixel = extent / n
    incidence = np.radians(rng.uniform(*radar.incidence))
    level = 10 ** (rng.uniform(*radar.clutter) / 10)
    aspect = rng.uniform(0, 2 * np.pi)
    centre = extent / 2 + rng.normal(0, 0.04, 2) * extent
    ground = clutter(rng, n, pixel, target.at_sea, level)
    if target.quay and rng.random() < 0.35:  # moored: a quay along one side
        along = np.array([[-3, 0.7], [3, 0.7], [3, 6.1], [-3, 6.1]]) * target.quay
        target.bodies.append((along, 3.0))
    strength = target.strength * np.exp(rng.normal(0, 0.35))
    place(target, ground, aspect, centre, extent, rng.uniform(0.1, 0.8) * level, rng.uniform(3, 9))
    power, past = project(ground, pixel, incidence, 60.0 * strength / max(target.extent, 20.0))
    geometry = (pixel, incidence, past)
    points = scatterers(rng, target, aspect, centre, geometry, radar.persistence) * F32(26.0 * np.sqrt(strength))
    return develop(rng, radar, power, points, size, target.at_sea)


def develop(
    rng: np.random.Generator, radar: Radar, power: np.ndarray, points: np.ndarray, size: int, at_sea: bool
) -> np.ndarray:
    """Focus what comes back, detect it and scale it for display, (size, size, 3) in [0, 1].

    Args:
        rng: source of speckle, defocus, bandwidth and contrast.
        radar: the acquisition.
        power: (3, n, n) of distributed surfaces per mechanism; n is at least `size`, and what is more is cut off.
        points: (3, n, n) amplitude of point scatterers.
        size: edge in pixels.
        at_sea: whether the scene moves.
    """
    n = power.shape[-1]
    power = power + F32(0.015)  # thermal noise
    defocus = rng.uniform(0, 5) * (rng.random() < 0.4) * (1.8 if at_sea else 0.6)
    band = rng.uniform(*radar.band)
    edge = (n - size) // 2
    crop = slice(edge, edge + size)
    if radar.pauli:
        mixing = np.array([[1.0, 0.25, 0.12], [0.10, 0.70, 0.04], [0.15, 0.25, 1.0]], F32)
        power = np.tensordot(mixing, power, 1)
        points = np.tensordot(np.sqrt(mixing), points, 1)
        bands = [focus(rng, power[b], points[b], band, radar.looks, defocus)[crop, crop] for b in range(3)]
        amplitude = np.sqrt(np.stack(bands, axis=-1))
        amplitude = amplitude / (amplitude.mean(axis=(0, 1)) + 0.3 * amplitude.mean())
        amplitude = amplitude * np.array([1.0, 0.9, 1.05], F32)
    else:
        image = focus(rng, power.sum(axis=0), points.sum(axis=0), band, radar.looks, defocus)[crop, crop]
        amplitude = np.sqrt(image)[..., None].repeat(3, axis=2)
    scale = 0.5 * np.quantile(amplitude, rng.uniform(0.985, 0.998)) + 0.5 * amplitude.mean() * rng.uniform(3.0, 7.0)
    return np.clip(amplitude / scale, 0, 1) ** F32(rng.uniform(*radar.gamma))
