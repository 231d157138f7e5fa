"""A square of land being built up: cover, relief, objects, trees, fields and roads, in metres.

Reflectances are round numbers in the range of the ECOSTRESS and USGS spectral libraries.
"""

from __future__ import annotations

import numpy as np

from acclimate.synthetic.canvas import Canvas, rectangle, turn
from acclimate.synthetic.fields import F32, cellular, grid, mix, noise, smoothstep

# blue 480, green 560, red 660, near infrared 850 nm
COVER = {
    "grass": (0.04, 0.09, 0.06, 0.42),
    "dry_grass": (0.08, 0.14, 0.16, 0.32),
    "broadleaf": (0.022, 0.052, 0.028, 0.46),
    "bare_crown": (0.07, 0.085, 0.095, 0.19),
    "conifer": (0.016, 0.036, 0.020, 0.27),
    "soil": (0.09, 0.14, 0.19, 0.28),
    "dark_soil": (0.05, 0.07, 0.09, 0.13),
    "green_crop": (0.03, 0.085, 0.04, 0.52),
    "lush_crop": (0.025, 0.065, 0.03, 0.58),
    "ripe_crop": (0.12, 0.22, 0.29, 0.42),
    "rapeseed": (0.05, 0.24, 0.22, 0.50),
    "stubble": (0.13, 0.19, 0.24, 0.35),
    "asphalt": (0.09, 0.10, 0.11, 0.13),
    "concrete": (0.23, 0.26, 0.28, 0.31),
    "gravel": (0.17, 0.20, 0.23, 0.27),
    "water": (0.045, 0.045, 0.026, 0.008),
    "turbid_water": (0.085, 0.115, 0.105, 0.045),
    "sand": (0.20, 0.30, 0.38, 0.46),
    "red_sand": (0.11, 0.22, 0.38, 0.47),
    "tile_roof": (0.08, 0.12, 0.25, 0.32),
    "slate_roof": (0.09, 0.10, 0.11, 0.13),
    "bright_roof": (0.42, 0.45, 0.46, 0.47),
    "blue_roof": (0.30, 0.19, 0.11, 0.25),
    "rock": (0.14, 0.16, 0.18, 0.21),
    "snow": (0.86, 0.85, 0.83, 0.72),
}


WINTER = {"grass": "dry_grass", "broadleaf": "bare_crown", "rapeseed": "green_crop", "ripe_crop": "soil"}


GREEN_SEASON = (
    "green_crop",
    "lush_crop",
    "ripe_crop",
    "rapeseed",
    "stubble",
    "soil",
    "dark_soil",
    "grass",
    "dry_grass",
)


BARE_SEASON = ("soil", "dark_soil", "stubble", "dry_grass", "green_crop", "soil")


ROOFS = ("tile_roof", "tile_roof", "slate_roof", "slate_roof", "gravel", "bright_roof")


class Land:
    """A square of land being built up: reflectance, relief, objects with height.

    Args:
        rng: source of everything random.
        n: edge in pixels.
        season: "summer" or "winter".
        sun: direction to the sun in the image, radians; pitched roofs are lit by it.
    """

    def __init__(self, rng: np.random.Generator, n: int, season: str, sun: float) -> None:
        self.rng, self.n, self.winter, self.sun = rng, n, season == "winter", sun
        self.angle = rng.uniform(0, 2 * np.pi)
        self.snowy = self.winter and rng.random() < 0.35
        self.open(100.0)

    def open(self, extent: float) -> None:
        """Set the edge length in metres and start empty."""
        self.extent, self.pixel = extent, extent / self.n
        self.x, self.y = (axis * F32(extent) for axis in grid(self.n))
        self.reflectance: np.ndarray = np.zeros((self.n, self.n, 4), F32)
        self.relief: np.ndarray = np.zeros((self.n, self.n), F32)
        self.objects: np.ndarray = np.zeros((self.n, self.n), F32)
        self.facet: np.ndarray = np.ones((self.n, self.n), F32)
        self.canvas = Canvas(self.n, extent, 6)  # four reflectances, height, facet

    def spectrum(self, name: str, vary: float = 0.12) -> np.ndarray:
        """Reflectance (4,) of a cover in this season, with natural variation of brightness and hue."""
        base = np.array(COVER[WINTER.get(name, name) if self.winter else name], F32)
        return base * F32(np.exp(vary * self.rng.standard_normal())) * np.exp(0.04 * self.rng.standard_normal(4))

    def texture(self, beta: float, amount: float, low: float = 1.0, **options: float) -> np.ndarray:
        """Multiplicative texture (n, n), about 1."""
        return np.exp(F32(amount) * noise(self.rng, self.n, beta, low=low, **options))

    def cover(self, name: str, weight: np.ndarray | None = None, texture: float = 0.15, beta: float = 2.0) -> None:
        """Lay a cover over everything, or where `weight` (n, n) says."""
        layer = self.spectrum(name) * self.texture(beta, texture)[..., None]
        self.reflectance = layer if weight is None else mix(self.reflectance, layer, weight)

    def at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Points (k, 2) in the image from coordinates about its centre along and across the scene's own axis."""
        return turn(np.stack([u, v], axis=-1).astype(F32), self.angle) + F32(self.extent / 2)

    def sees(self, u: float, v: float, margin: float = 15.0) -> bool:
        """Whether a point in the scene's own axes can lie in the image, which is a rotated square."""
        return u * u + v * v < (0.708 * self.extent + margin) ** 2

    def slab(self, shape: np.ndarray, paint: np.ndarray, height: float = 0.0, facet: float = 1.0) -> None:
        """Draw an object, (k, 2) in the scene's own axes."""
        self.canvas.polygon(self.at(shape[:, 0], shape[:, 1]), (*paint.tolist(), height, facet))

    def gable(self, u: float, v: float, length: float, width: float, turned: float, paint: np.ndarray) -> None:
        """Draw a pitched roof: two halves that the sun lights differently."""
        for side in (-1, 1):
            middle = turn(np.array([0.0, side * width / 4], F32), turned)
            half = rectangle(u + middle[0], v + middle[1], length, width / 2, turned)
            normal = turned + self.angle + side * np.pi / 2
            self.slab(half, paint, 6.5, 1.0 + 0.55 * float(np.cos(normal - self.sun)))

    def draw(self) -> None:
        """Stamp what has been drawn so far on the land and start a new sheet."""
        ids, table = self.canvas.ids(), self.canvas.table()
        drawn = ids > 0
        self.reflectance = np.where(drawn[..., None], table[:, :4].take(ids, axis=0), self.reflectance)
        self.objects = np.maximum(self.objects * ~drawn, table[:, 4].take(ids))
        self.facet = np.where(drawn, table[:, 5].take(ids), self.facet)
        self.canvas = Canvas(self.n, self.extent, 6)

    def trees(self, chance: np.ndarray, crown: float, conifers: float = 0.2, height: float = 1.3) -> None:
        """Plant trees: crowns `crown` metres wide where a draw falls below `chance` (n, n) at the stem."""
        rng = self.rng
        cell = crown * 0.9
        cells = cellular(rng, self.x / F32(cell), self.y / F32(cell), jitter=0.9)
        cols = np.clip((cells.x * cell / self.pixel).astype(int), 0, self.n - 1)
        rows = np.clip((cells.y * cell / self.pixel).astype(int), 0, self.n - 1)
        stands = rng.random(cells.count) < chance[rows, cols]
        radius = (rng.uniform(0.42, 0.78, cells.count) * stands).astype(F32)
        needle = rng.random(cells.count) < conifers
        leaf, pine = self.spectrum("broadleaf", 0.2), self.spectrum("conifer", 0.15)
        paint = np.where(needle[:, None], pine, leaf) * np.exp(0.22 * rng.standard_normal((cells.count, 1)))
        r = radius.take(cells.index)
        dome = np.sqrt(np.clip(1 - cells.near / np.maximum(r * r, 1e-4), 0, 1))
        crown_height = dome * r * F32(crown * height)
        cover = smoothstep(0.0, 0.5, dome)
        if self.winter:  # twigs let the ground show; needles do not
            cover = cover * np.where(needle, 1.0, 0.6).astype(F32).take(cells.index)
        shade = (0.75 + 0.35 * dome)[..., None]
        self.reflectance = mix(self.reflectance, paint.astype(F32).take(cells.index, axis=0) * shade, cover)
        self.relief = self.relief + 0.6 * crown_height
        self.objects = np.maximum(self.objects * (1 - cover), crown_height)
        self.facet = self.facet * (1 - cover) + cover

    def finish(self) -> None:
        """Snow of the season, and the last drawn objects."""
        if self.canvas.count > 1:
            self.draw()
        if self.snowy:
            patch = noise(self.rng, self.n, 2.6) + self.rng.uniform(-0.6, 1.5)
            wet = self.reflectance[..., 3] < self.reflectance[..., 1]
            lies = smoothstep(-0.9, 1.2, patch) * ~wet * np.exp(-self.objects / 12) * self.rng.uniform(0.25, 0.7)
            self.reflectance = mix(self.reflectance, np.array(COVER["snow"], F32), lies)


def parcels(
    land: Land, smallest: float, kinds: tuple[str, ...], within: float = 1.5
) -> list[tuple[float, float, float, float]]:
    """Fields: a random guillotine partition of the rotated square, drawn with tillage rows; returns the rectangles."""
    rng, reach = land.rng, land.extent * within / 2
    todo: list[tuple[float, float, float, float]] = [(-reach, -reach, reach, reach)]
    done: list[tuple[float, float, float, float]] = []
    while todo:
        u0, v0, u1, v1 = todo.pop()
        along, across = u1 - u0, v1 - v0
        if max(along, across) < smallest * rng.uniform(1.0, 2.6) or len(done) + len(todo) > 150:
            done.append((u0, v0, u1, v1))
            continue
        cut = rng.uniform(0.3, 0.7)
        if along > across * rng.uniform(0.7, 1.5):
            middle = u0 + cut * along
            todo += [(u0, v0, middle, v1), (middle, v0, u1, v1)]
        else:
            middle = v0 + cut * across
            todo += [(u0, v0, u1, middle), (u0, middle, u1, v1)]
    gap = rng.uniform(0.5, 3.0)
    rows = np.zeros(len(done) + 1, F32)
    for number, (u0, v0, u1, v1) in enumerate(done):
        paint = land.spectrum(str(rng.choice(kinds)), 0.25)
        box = np.array([[u0 + gap, v0 + gap], [u1 - gap, v0 + gap], [u1 - gap, v1 - gap], [u0 + gap, v1 - gap]], F32)
        land.slab(box + rng.normal(0, 0.02 * smallest, (4, 2)).astype(F32), paint)
        rows[number + 1] = (0.0 if u1 - u0 > v1 - v0 else np.pi / 2) + rng.normal(0, 0.06)
    ids = land.canvas.ids()
    land.draw()
    angle = (rows + F32(land.angle)).take(ids)
    across = np.cos(angle) * land.y - np.sin(angle) * land.x
    drill = max(5.0, 2.8 * land.pixel) * rng.uniform(0.9, 1.6)
    strength = (rng.uniform(0, 0.16, len(rows)) * (rng.random(len(rows)) < 0.7)).astype(F32).take(ids)
    wheels = np.exp(-(((across % F32(24.0)) - 12.0) ** 2) / F32(2 * (0.6 * land.pixel) ** 2))
    texture = land.texture(1.8, 0.10) * land.texture(3.2, 0.10, low=2.0)
    stripes = 1 + strength * np.sin(across * F32(2 * np.pi / drill)) - 0.9 * strength * wheels
    land.reflectance = land.reflectance * (texture * stripes)[..., None]
    return done


def road(land: Land, width: float, name: str = "asphalt", bend: float = 0.08) -> None:
    """Draw one road across the scene."""
    rng, half = land.rng, land.extent * 0.8
    u = np.linspace(-half, half, 24)
    v = rng.uniform(-0.35, 0.35) * land.extent + bend * land.extent * np.sin(
        u / half * rng.uniform(1, 3) + rng.uniform(0, 6)
    )
    turned = turn(np.stack([u, v], axis=-1).astype(F32), rng.uniform(0, np.pi))
    land.canvas.line(land.at(turned[:, 0], turned[:, 1]), width, (*land.spectrum(name).tolist(), 0.0, 1.0))
