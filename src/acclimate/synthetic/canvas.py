"""Drawing polygons of numbered objects, whose properties are then looked up in tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from acclimate.synthetic.fields import F32


class Canvas:
    """An n x n raster of object numbers; 0 is the background, later objects cover earlier ones.

    Args:
        n: edge in pixels.
        extent: edge in the units that the polygons use, such as metres.
        width: number of properties that each object carries.
    """

    def __init__(self, n: int, extent: float, width: int) -> None:
        self.n, self.extent = n, extent
        self._scale = n / extent
        self._image = Image.new("I", (n, n), 0)
        self._draw = ImageDraw.Draw(self._image)
        self._rows: list[Sequence[float]] = [[0.0] * width]

    def polygon(self, points: np.ndarray, row: Sequence[float]) -> None:
        """Fill a polygon, (k, 2) as x, y, with a new object that has the properties `row`."""
        self._rows.append(row)
        self._draw.polygon((points * self._scale).ravel().tolist(), fill=len(self._rows) - 1)

    def polygons(self, shapes: np.ndarray, rows: np.ndarray) -> None:
        """Fill many polygons of equal vertex count, (m, k, 2), with properties (m, width)."""
        flat = (shapes * self._scale).reshape(len(shapes), -1).tolist()
        for points, row in zip(flat, rows.tolist(), strict=True):
            self._rows.append(row)
            self._draw.polygon(points, fill=len(self._rows) - 1)

    def line(self, points: np.ndarray, width: float, row: Sequence[float]) -> None:
        """Draw a polyline, (k, 2), of a width in the canvas's units."""
        self._rows.append(row)
        self._draw.line(
            (points * self._scale).ravel().tolist(),
            fill=len(self._rows) - 1,
            width=max(1, round(width * self._scale)),
            joint="curve",
        )

    @property
    def count(self) -> int:
        """Objects drawn so far, the background included."""
        return len(self._rows)

    def ids(self) -> np.ndarray:
        """Object number per pixel, (n, n) int32."""
        return np.asarray(self._image, dtype=np.int32)

    def table(self) -> np.ndarray:
        """Properties of all objects, (count, width)."""
        return np.asarray(self._rows, dtype=F32)


def turn(points: np.ndarray, angle: float) -> np.ndarray:
    """Rotate (..., 2) points about the origin."""
    c, s = math.cos(angle), math.sin(angle)
    turned = np.empty_like(points, dtype=F32)
    turned[..., 0] = c * points[..., 0] - s * points[..., 1]
    turned[..., 1] = s * points[..., 0] + c * points[..., 1]
    return turned


def rectangle(x: float, y: float, length: float, width: float, angle: float = 0.0) -> np.ndarray:
    """Corners, (4, 2), of a rectangle about (x, y) whose length makes `angle` with the x axis."""
    c, s = math.cos(angle), math.sin(angle)
    ax, ay, bx, by = c * length / 2, s * length / 2, -s * width / 2, c * width / 2
    return np.array(
        (
            (x - ax - bx, y - ay - by),
            (x + ax - bx, y + ay - by),
            (x + ax + bx, y + ay + by),
            (x - ax + bx, y - ay + by),
        ),
        F32,
    )


def ellipses(
    centres: np.ndarray,
    radius: np.ndarray,
    aspect: np.ndarray,
    angle: np.ndarray,
    rng: np.random.Generator | None = None,
    rough: float = 0.0,
    vertices: int = 14,
) -> np.ndarray:
    """Polygons, (m, vertices, 2), of ellipses, optionally with outlines roughened by low harmonics.

    Args:
        centres: (m, 2).
        radius: (m,) geometric mean of the half axes.
        aspect: (m,) long half axis over short one.
        angle: (m,) direction of the long axis in radians.
        rng: source of the roughness.
        rough: relative amplitude of harmonics 2 to 4.
        vertices: corners per polygon.
    """
    t = np.linspace(0, 2 * np.pi, vertices, endpoint=False, dtype=F32)
    r = np.ones((len(centres), vertices), F32)
    if rng is not None and rough > 0:
        for harmonic in (2, 3, 4):
            phase = rng.uniform(0, 2 * np.pi, (len(centres), 1)).astype(F32)
            r = r + rough / harmonic * rng.standard_normal((len(centres), 1)).astype(F32) * np.cos(harmonic * t + phase)
    root = np.sqrt(aspect)[:, None]
    u, v = r * np.cos(t) * radius[:, None] * root, r * np.sin(t) * radius[:, None] / root
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([c * u - s * v + centres[:, :1], s * u + c * v + centres[:, 1:]], axis=-1).astype(F32)
