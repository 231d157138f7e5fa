"""A slice of rock being filled with grains."""

from __future__ import annotations

import numpy as np

from acclimate.synthetic.canvas import Canvas, ellipses
from acclimate.synthetic.fields import F32, Cells, cellular, grid, noise, rotate
from acclimate.synthetic.minerals import NAMES

CODE = {name: number for number, name in enumerate(NAMES)}


class Section:
    """A slice of rock being filled with grains; lengths are in fields of view at zoom 1.

    Args:
        rng: source of everything random.
        n: edge in pixels.
        zoom: magnification; below 1 shows more and smaller grains.
    """

    def __init__(self, rng: np.random.Generator, n: int, zoom: float) -> None:
        self.rng, self.n, self.zoom = rng, n, zoom
        self.x, self.y = grid(n)
        self.stage = rng.uniform(0, np.pi)  # rotation of the stage
        self.turn = F32(self.stage)
        self.ids = np.zeros((n, n), np.int32)
        self.dirt: np.ndarray = np.zeros((n, n), F32)  # grey optical density
        self.mud: np.ndarray = np.zeros((n, n), F32)  # density of lime mud, brown
        self._minerals: list[np.ndarray] = []
        self._directions: list[np.ndarray] = []
        self._count = 0

    def minerals(self) -> np.ndarray:
        """Mineral code of each grain, (count,)."""
        return np.concatenate(self._minerals)

    def direction(self) -> np.ndarray:
        """Direction of each grain's length, (count,) radians."""
        return np.concatenate(self._directions).astype(F32)

    def add(
        self, index: np.ndarray, minerals: np.ndarray, directions: np.ndarray, where: np.ndarray | None = None
    ) -> None:
        """Add grains: `index` (n, n) counts from 0 into `minerals` and `directions`; `where` limits them."""
        own = index + self._count
        self.ids = own.astype(np.int32) if where is None else np.where(where, own, self.ids).astype(np.int32)
        self._minerals.append(minerals.astype(np.int64))
        self._directions.append(directions)
        self._count += len(minerals)

    def choose(self, count: int, shares: dict[str, float]) -> np.ndarray:
        """Mineral codes drawn by their modal shares, which themselves vary from section to section."""
        names = list(shares)
        weight = np.array([shares[name] for name in names]) * np.exp(0.35 * self.rng.standard_normal(len(names)))
        codes = np.array([CODE[name] for name in names])
        return codes[np.searchsorted(np.cumsum(weight / weight.sum())[:-1], self.rng.random(count))]

    def mosaic(
        self,
        spacing: float,
        shares: dict[str, float],
        warp: float = 0.0,
        jitter: float = 0.9,
        spread: float = 0.25,
        where: np.ndarray | None = None,
        stretch: float = 1.0,
        angle: float = 0.0,
    ) -> Cells:
        """Fill with a grain mosaic of mean `spacing`; `warp` makes boundaries interlock, `stretch` flattens grains."""
        rng, cell = self.rng, spacing * self.zoom
        x, y = rotate(self.x, self.y, angle)
        x, y = x / F32(cell * stretch), y / F32(cell)
        if warp:
            waves = {"low": round(max(2.0, 0.6 / cell), 1), "high": round(3.0 / cell, 1)}
            x = x + F32(warp) * noise(rng, self.n, 3.0, **waves)
            y = y + F32(warp) * noise(rng, self.n, 3.0, **waves)
        cells = cellular(rng, x, y, jitter, spread)
        free = rng.uniform(0, np.pi, cells.count)
        lean = angle + rng.normal(0, 0.2, cells.count)
        self.add(cells.index, self.choose(cells.count, shares), free if stretch == 1.0 else lean, where)
        return cells

    def crystals(
        self,
        centres: np.ndarray,
        length: np.ndarray,
        aspect: np.ndarray,
        angle: np.ndarray,
        minerals: np.ndarray,
        vertices: int = 4,
        rough: float = 0.0,
        where: np.ndarray | None = None,
    ) -> np.ndarray:
        """Draw crystals: laths (4 vertices), tablets (6) or rounded grains (more); returns where they lie."""
        if len(centres) == 0:
            return np.zeros((self.n, self.n), bool)
        canvas = Canvas(self.n, 1.0, 1)
        radius = (length * self.zoom / 2 / np.sqrt(aspect)).astype(F32)
        if vertices == 4:
            half, wide = length * self.zoom / 2, length * self.zoom / 2 / aspect
            corners = np.array([[-1, -0.8], [0.92, -1], [1, 0.9], [-0.95, 1]])
            u, v = corners[:, 0] * half[:, None], corners[:, 1] * wide[:, None]
            c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
            shapes = np.stack([c * u - s * v + centres[:, :1], s * u + c * v + centres[:, 1:]], axis=-1)
        else:
            shapes = ellipses(centres, radius, aspect, angle, self.rng, rough, vertices)
        canvas.polygons(shapes, np.zeros((len(centres), 1)))
        ids = canvas.ids()
        drawn = ids > 0 if where is None else (ids > 0) & where
        self.add(ids - 1, minerals, angle, drawn)
        return drawn

    def scatter(self, count: int, margin: float = 0.1) -> np.ndarray:
        """Points of the field, and a little outside it, (count, 2)."""
        return self.rng.uniform(-margin, 1 + margin, (count, 2))

    def number(self, low: float, high: float) -> int:
        """A count for the field of view: draws a density and grows with the area seen."""
        return int(self.rng.uniform(low, high) / self.zoom**2)
