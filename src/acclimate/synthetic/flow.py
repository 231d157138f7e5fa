"""Flow fields in two dimensions and the ways in which laboratories and simulations show them.

A vorticity or speed map with a colour map, a schlieren image (knife-edge derivative of a density-like dye; Settles
2001) or streaks of tracer particles. The flows themselves are in `flow_fields`, the solver in `solver`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage

from acclimate.synthetic.fields import F32, blur, grid, noise
from acclimate.synthetic.flow_fields import FLOWS, SOLVED, View, solved
from acclimate.synthetic.solver import RUNS

DIVERGING = ("RdBu_r", "seismic", "coolwarm", "PuOr_r")
SEQUENTIAL = ("viridis", "inferno", "jet", "magma")
NEEDS = {"vorticity_map": "vorticity", "speed_map": "velocity", "schlieren": "dye", "tracer_streaks": "velocity"}


@lru_cache(maxsize=32)
def _palette(name: str) -> np.ndarray:
    """A named colour map, (256, 3)."""
    import matplotlib

    return matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3].astype(F32)


def run_of(class_name: str, rng: np.random.Generator) -> int | None:
    """Which solver run an image is cut from, the first thing its generator draws; None for analytic flows."""
    return int(rng.integers(RUNS)) if class_name in SOLVED else None


def paint(class_name: str, acquisition: str, rng: np.random.Generator, size: int, seed: int) -> np.ndarray:
    """A flow image, (size, size, 3) in [0, 1]."""
    run = run_of(class_name, rng)
    view = View(rng, size, NEEDS[acquisition])
    if run is None:
        FLOWS[class_name](view)
    else:
        solved(view, class_name, run, seed)
    if acquisition == "vorticity_map":
        return _map(rng, view, _measured(rng, view.vorticity, 0.04), DIVERGING, signed=True)
    if acquisition == "speed_map":
        speed = np.hypot(_measured(rng, view.u, 0.03), _measured(rng, view.v, 0.03))
        return _map(rng, view, speed, SEQUENTIAL, signed=False)
    if acquisition == "schlieren":
        return _schlieren(rng, view)
    return _streaks(rng, view)


def _measured(rng: np.random.Generator, value: np.ndarray, level: float) -> np.ndarray:
    """The field as an instrument or a coarse simulation gives it: smoothed, with correlated noise and outliers."""
    n = value.shape[0]
    spread = float(value.std()) + 1e-6
    value = blur(value, rng.uniform(0, 1.6) * n / 128)
    value = value + F32(spread * level * rng.gamma(1.2, 1.0)) * noise(rng, n, 0.4, high=n / rng.integers(3, 10))
    if rng.random() < 0.08:  # lost interrogation windows
        window = n // int(rng.integers(10, 20))
        lost = np.kron(rng.random((n // window + 1,) * 2) < 0.03, np.ones((window, window)))[:n, :n] > 0
        value = np.where(lost, F32(rng.normal(0, 2 * spread)), value)
    return value


def _map(rng: np.random.Generator, view: View, value: np.ndarray, names: tuple[str, ...], signed: bool) -> np.ndarray:
    """Colour map, sometimes in filled contour levels or with streamlines, solids in grey."""
    if signed:
        limit = float(np.quantile(np.abs(value[::2, ::2]), rng.uniform(0.93, 0.995))) * rng.uniform(0.8, 1.5) + 1e-9
        t = 0.5 + 0.5 * value / limit
        if rng.random() < 0.5:
            t = 1 - t
    else:
        low, high = np.quantile(value[::2, ::2], (0.01, rng.uniform(0.97, 1.0)))
        t = (value - low) / (high - low + 1e-9)
    t = np.clip(t, 0, 1)
    if rng.random() < 0.3:
        levels = int(rng.integers(7, 20))
        t = np.floor(t * levels) / (levels - 1)
    palette = _palette(names[rng.integers(len(names))])
    image = palette.take(np.clip(t * 255, 0, 255).astype(np.int32), axis=0)
    if view.solid is not None:
        image = np.where(view.solid[..., None], F32(rng.choice([0.0, 0.35, 0.7, 1.0])), image)
    return image + F32(rng.uniform(0, 0.02)) * rng.standard_normal((*t.shape, 1), dtype=F32)


def _schlieren(rng: np.random.Generator, view: View) -> np.ndarray:
    """Light refracted past a knife edge: brightness follows the density gradient across the edge."""
    n = view.n
    density = blur(view.dye, 0.7)
    density = density + F32(rng.uniform(0, 0.06) * float(density.std())) * noise(rng, n, 3.6, low=3.0)
    slope_y, slope_x = np.gradient(density)
    knife = rng.uniform(0, 2 * np.pi)
    signal = np.cos(knife) * slope_x + np.sin(knife) * slope_y
    if rng.random() < 0.25:  # shadowgraph: second derivative
        signal = ndimage.laplace(blur(density, 0.7))
    signal = signal / (np.quantile(np.abs(signal), 0.97) + 1e-6)
    x, y = grid(n)
    lamp = 1 - rng.uniform(0.1, 0.6) * 2 * ((x - rng.uniform(0.3, 0.7)) ** 2 + (y - rng.uniform(0.3, 0.7)) ** 2)
    image = lamp * np.clip(rng.uniform(0.4, 0.6) + rng.uniform(0.12, 0.30) * signal, 0, 1.2)
    image = image + 0.015 * noise(rng, n, 1.5, low=4.0)
    if view.solid is not None:
        image = np.where(view.solid, F32(0.02), image)
    tint = 1 + rng.normal(0, 0.02, 3)
    grain = rng.standard_normal((n, n), dtype=F32) * rng.uniform(0.01, 0.04)
    return (image + grain)[..., None] * tint.astype(F32)


def _streaks(rng: np.random.Generator, view: View) -> np.ndarray:
    """Path lines of tracer particles in a light sheet during one exposure."""
    n, fine = view.n, 2
    count, steps = int(rng.uniform(900, 1900)), 16
    typical = float(np.sqrt((view.u**2 + view.v**2).mean())) + 1e-6
    stride = n * rng.uniform(0.09, 0.16) / typical / steps
    x, y = rng.uniform(-0.05, 1.05, (2, count)).astype(F32) * n
    shine = rng.gamma(1.5, 0.7, count).astype(F32)
    canvas = np.zeros(n * n * fine * fine, F32)
    for _ in range(steps):
        column, row = np.clip(x, 0, n - 1).astype(np.int32), np.clip(y, 0, n - 1).astype(np.int32)
        cell = row * n + column
        x, y = x + F32(stride) * view.u.take(cell), y + F32(stride) * view.v.take(cell)
        inside = (x >= 0) & (y >= 0) & (x < n) & (y < n)
        spot = (y[inside] * fine).astype(np.int64) * (n * fine) + (x[inside] * fine).astype(np.int64)
        canvas += np.bincount(spot, shine[inside], canvas.size).astype(F32)
    image = blur(canvas.reshape(n * fine, n * fine), rng.uniform(0.8, 1.5))
    image = image.reshape(n, fine, n, fine).mean(axis=(1, 3))
    if view.solid is not None:
        image = np.where(view.solid, F32(0.0), image)
    sheet = np.exp(F32(0.25) * noise(rng, n, 3.5, low=0.6))
    image = image * sheet / (np.quantile(image, 0.985) + 1e-6) * rng.uniform(0.8, 1.3)
    image = image + rng.uniform(0.02, 0.10) + F32(rng.uniform(0.01, 0.04)) * rng.standard_normal((n, n), dtype=F32)
    if rng.random() < 0.05:
        return (1 - image)[..., None].repeat(3, axis=2)  # printed as dark on light
    tint = (1.0, 1.0, 1.0) if rng.random() < 0.75 else (0.55, 1.0, 0.6)  # a green laser
    return image[..., None] * np.array(tint, F32)
