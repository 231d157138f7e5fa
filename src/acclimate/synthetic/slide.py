"""A tissue section being filled with nuclei, fibres and cells. Lengths in micrometres."""

from __future__ import annotations

import numpy as np

from acclimate.synthetic.canvas import Canvas, ellipses
from acclimate.synthetic.fields import F32, grid, noise, rotate, smoothstep


class Slide:
    """A field of view being filled with tissue.

    Args:
        rng: source of everything random.
        n: edge in pixels.
        swollen: factor on the size of nuclei.
    """

    def __init__(self, rng: np.random.Generator, n: int, swollen: float = 1.0) -> None:
        self.rng, self.n, self.swollen = rng, n, swollen
        self.extent = float(rng.uniform(130, 250))
        self.x, self.y = (axis * F32(self.extent) for axis in grid(n))
        self.angle = rng.uniform(0, 2 * np.pi)
        self.nuclear: np.ndarray = np.zeros((n, n), F32)  # haematoxylin
        self.eosin: np.ndarray = np.zeros((n, n), F32)
        self.blood: np.ndarray = np.zeros((n, n), F32)
        self._rims, self._cores = Canvas(n, self.extent, 1), Canvas(n, self.extent, 1)

    def field(self, beta: float, size: float, **options: float) -> np.ndarray:
        """Random field (n, n) without structure coarser than `size` micrometres."""
        return noise(self.rng, self.n, beta, low=round(self.extent / size, 1), **options)

    def at(self, value: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Values of a field (n, n) at points (k, 2), clamped to the border."""
        column, row = np.clip(points * (self.n / self.extent), 0, self.n - 1).astype(int).T
        return value[row, column]

    def sites(self, spacing: float, jitter: float = 0.8, chance: np.ndarray | float = 1.0) -> np.ndarray:
        """Points (k, 2) on a jittered lattice over the field and its margin, kept by `chance` (n, n)."""
        rng = self.rng
        axis = np.arange(-1, self.extent / spacing + 1)
        points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        points = (points + (np.arange(len(points))[:, None] // len(axis) % 2) * (0.5, 0.0)) * spacing
        points = points + rng.uniform(-jitter / 2, jitter / 2, points.shape) * spacing
        keep = rng.random(len(points)) < (self.at(chance, points) if isinstance(chance, np.ndarray) else chance)
        return points[keep]

    def nuclei(
        self,
        centres: np.ndarray,
        radius: float,
        aspect: float = 1.2,
        angle: np.ndarray | None = None,
        vary: float = 0.12,
        rough: float = 0.05,
        amount: float = 1.0,
        open_chromatin: float = 0.4,
    ) -> None:
        """Draw nuclei: log-normal size, a dark rim (heterochromatin), paler inside, nucleoli in open ones.

        Args:
            centres: (k, 2).
            radius: median, of the circle of equal area.
            aspect: median of long over short axis.
            angle: (k,) direction of the long axis; random by default.
            vary: log standard deviation of the size.
            rough: irregularity of the outline.
            amount: haematoxylin taken up.
            open_chromatin: 0 dense and even to 1 vesicular.
        """
        count, rng = len(centres), self.rng
        if not count:
            return
        size = radius * self.swollen * np.exp(vary * rng.standard_normal(count))
        long = 1 + (aspect - 1) * rng.gamma(6, 1 / 6, count)
        turned = rng.uniform(0, np.pi, count) if angle is None else angle
        centres = centres.astype(F32)
        shapes = ellipses(centres, size.astype(F32), long.astype(F32), turned.astype(F32), rng, rough)
        dose = (amount * np.exp(0.18 * rng.standard_normal(count)))[:, None]
        self._rims.polygons(shapes, dose)
        inner = centres[:, None, :] + (shapes - centres[:, None, :]) * F32(0.72)
        self._cores.polygons(inner, dose * (1 - 0.55 * open_chromatin * rng.uniform(0.4, 1.2, (count, 1))))
        if open_chromatin > 0.5:
            spot = centres + rng.normal(0, 0.25, (count, 2)).astype(F32) * size[:, None]
            self._cores.polygons(ellipses(spot, 0.24 * size, np.ones(count), turned, vertices=7), dose)

    def finish(self) -> None:
        """Stamp the nuclei, with chromatin texture, over the tissue."""
        rim, core = (canvas.table()[:, 0].take(canvas.ids()) for canvas in (self._rims, self._cores))
        inside = rim > 0
        chromatin = np.exp(F32(0.25) * self.field(0.8, 6.0))
        stain = np.where(core > 0, core, rim) * chromatin
        self.nuclear = np.where(inside, stain, self.nuclear)
        self.eosin = np.where(inside, self.eosin * 0.45, self.eosin)

    def fibres(
        self, level: float, amount: float, length: float = 8.0, wave: float = 0.0, angle: float | None = None
    ) -> np.ndarray:
        """Wavy eosinophilic fibres over the whole field, (n, n), and their local direction is `angle` plus the wave."""
        lean = self.angle if angle is None else angle
        if wave:
            along, across = rotate(self.x, self.y, lean)
            period = self.rng.uniform(30, 70)
            across = across + F32(wave * period / 8) * np.sin(
                along * F32(2 * np.pi / period) + 1.5 * self.field(3.6, 200.0)
            )
            strands = np.sin(across * F32(2 * np.pi / self.rng.uniform(4.5, 9)) + 2.2 * self.field(3.0, 60.0))
            grain = 0.55 * strands + 0.6 * self.field(1.6, 60.0, stretch=length, angle=lean)
        else:
            grain = self.field(1.6, 60.0, stretch=length, angle=lean)
        return np.clip(F32(level) + F32(amount) * grain, 0.02, None)

    def cells(self, points: np.ndarray, radius: float, value: float) -> None:
        """Round erythrocyte-like discs into the blood channel."""
        if len(points):
            canvas = Canvas(self.n, self.extent, 1)
            ones = np.ones(len(points), F32)
            canvas.polygons(
                ellipses(points.astype(F32), ones * F32(radius), ones * F32(1.15), ones, self.rng, 0.04, 10),
                ones[:, None],
            )
            self.blood = np.where(canvas.ids() > 0, F32(value), self.blood)

    def vessel(self) -> None:
        """A capillary or venule: a pale lumen with erythrocytes and a thin endothelium."""
        rng = self.rng
        centre, radius = rng.uniform(0.1, 0.9, 2) * self.extent, rng.uniform(6, 18)
        distance = np.hypot((self.x - centre[0]) * rng.uniform(0.5, 1.0), self.y - centre[1]) + self.field(3.0, 60.0)
        lumen = smoothstep(radius + 1, radius - 1, distance)
        self.eosin = self.eosin * (1 - 0.9 * lumen) + 0.25 * np.exp(-(((distance - radius) / 2) ** 2))
        points = centre + rng.normal(0, 0.45 * radius, (int(radius * rng.uniform(0, 1.5)), 2))
        self.cells(points[self.at(lumen, points) > 0.6], 3.2, 0.9)
        t = rng.uniform(0, 2 * np.pi, 5)
        self.nuclei(centre + (radius + 1) * np.stack([np.cos(t), np.sin(t)], axis=-1), 2.6, 3.0, t + np.pi / 2)
