"""Built-up land: residential and industrial areas, harbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acclimate.synthetic.canvas import ellipses, rectangle, turn
from acclimate.synthetic.fields import F32, noise, smoothstep
from acclimate.synthetic.land import ROOFS, Land

SHIP_PAINT = ((0.3, 0.3, 0.32, 0.33), (0.06, 0.08, 0.3, 0.3), (0.2, 0.1, 0.06, 0.1), (0.07, 0.16, 0.1, 0.15))


def house_row(
    land: Land, u0: float, u1: float, v: float, side: int, lot: float, bend: Callable[[float], float]
) -> None:
    """Houses along a street: main roof, sometimes a wing, a drive and a car or pool."""
    rng, drive = land.rng, land.spectrum("concrete")
    u = u0 + lot * rng.uniform(0.4, 0.7)
    while u < u1 - lot * 0.4:
        if land.sees(u, v) and rng.random() < 0.92:
            length, width = rng.uniform(10, 15), rng.uniform(7.5, 10.5)
            back = v + side * rng.uniform(12, 16) + bend(u)
            turned = (np.pi / 2 if rng.random() < 0.25 else 0.0) + rng.normal(0, 0.06)
            roof = land.spectrum(ROOFS[rng.integers(6)], 0.18)
            land.slab(rectangle(u + length / 2 + 1, v + side * 6 + bend(u), 3.2, 12, 0), drive)
            if rng.random() < 0.35:
                land.gable(u + length / 3, back + side * width / 2, width, 6, np.pi / 2, roof)
            land.gable(u, back, length, width, turned, roof)
            if rng.random() < 0.10:
                land.slab(rectangle(u, back + side * 13, 7, 4, 0), np.array([0.32, 0.30, 0.10, 0.04], F32))
        u += lot * rng.uniform(0.85, 1.2)


def residential_area(land: Land) -> None:
    """Blocks of pitched-roof houses on a street grid, with gardens."""
    rng = land.rng
    land.open(rng.uniform(190, 360))
    land.cover("grass", texture=0.22)
    land.cover("dry_grass", smoothstep(0.2, 1.2, noise(rng, land.n, 2.5)), 0.2)
    depth, lot, reach = rng.uniform(58, 76), rng.uniform(15, 25), land.extent * 0.78
    sway, wave = (rng.uniform(4, 14), rng.uniform(160, 320)) if rng.random() < 0.5 else (0.0, 100.0)

    def bend(u: float) -> float:
        return float(sway * np.sin(u / wave * 2 * np.pi))

    asphalt, streets = land.spectrum("asphalt", 0.2), np.arange(-reach, reach, depth)
    bends = np.linspace(-reach, reach, 40)
    crossings = np.arange(-reach + rng.uniform(0, 90), reach, rng.uniform(110, 190))
    for v in streets:
        line = land.at(bends, v + sway * np.sin(bends / wave * 2 * np.pi))
        land.canvas.line(line, 7.0, (*asphalt.tolist(), 0.0, 1.0))
    for u in crossings:
        land.slab(rectangle(u, 0, 7, 2 * reach), asphalt)
    park = rng.random() < 0.3
    for row, v in enumerate(streets):
        for u0, u1 in zip(np.append(-reach, crossings), np.append(crossings, reach), strict=True):
            if park and row == len(streets) // 2 and rng.random() < 0.5:
                continue
            house_row(land, u0 + 5, u1 - 5, v, 1, lot, bend)
            house_row(land, u0 + 5, u1 - 5, v + depth, -1, lot, bend)
    land.draw()
    land.reflectance *= land.texture(1.0, 0.08)[..., None]
    free = (land.objects < 1) & (land.reflectance[..., 3] > 1.8 * land.reflectance[..., 2])
    land.trees(free * F32(rng.uniform(0.1, 0.55)), rng.uniform(6, 9), rng.uniform(0.1, 0.4))


def industrial_area(land: Land) -> None:
    """Large flat or saw-tooth roofs, tanks, yards, rail and lorries."""
    rng = land.rng
    land.open(rng.uniform(260, 560))
    land.cover(str(rng.choice(["grass", "gravel", "concrete", "soil"])), texture=0.2)
    land.cover("gravel", smoothstep(-0.2, 0.6, noise(rng, land.n, 2.6)), 0.18)
    block, reach = rng.uniform(80, 150), land.extent * 0.75
    asphalt = land.spectrum("asphalt", 0.15)
    u = -reach
    while u < reach:
        length = block * rng.uniform(0.6, 1.5)
        land.slab(rectangle(u, 0, 9, 2 * reach), asphalt)
        v = -reach + rng.uniform(0, 30)
        while v < reach:
            width = block * rng.uniform(0.45, 1.3)
            land.slab(rectangle(u + length / 2, v, length, 8), asphalt)
            if land.sees(u + length / 2, v + width / 2, 0.7 * block) and rng.random() < 0.88:
                _plot(land, u + length / 2, v + width / 2, length - 16, width - 12)
            v += width
        u += length
    if rng.random() < 0.35:
        for track in range(rng.integers(2, 6)):
            land.slab(rectangle(0, land.extent * 0.3 + 5 * track, 3 * reach, 1.8, 0.2), land.spectrum("dark_soil"))
    land.draw()
    land.reflectance *= (land.texture(1.2, 0.10) * land.texture(3.0, 0.08))[..., None]
    free = (land.objects < 1) & (land.reflectance[..., 3] > 2.0 * land.reflectance[..., 2])
    land.trees(free * F32(rng.uniform(0.05, 0.35)), 8.0)


def _plot(land: Land, u: float, v: float, length: float, width: float) -> None:
    """One industrial plot: hall, tank farm, or parking and storage yard."""
    rng = land.rng
    land.slab(rectangle(u, v, length, width), land.spectrum(str(rng.choice(["concrete", "asphalt", "gravel"])), 0.2))
    use = rng.random()
    if use < 0.6:
        a, b = length * rng.uniform(0.5, 0.92), width * rng.uniform(0.45, 0.9)
        paint = land.spectrum(
            str(rng.choice(["bright_roof", "bright_roof", "blue_roof", "concrete", "slate_roof"])), 0.25
        )
        high = rng.uniform(8, 15)
        bays = int(rng.integers(1, 9)) if rng.random() < 0.6 else 1
        for bay in range(bays):
            tone = 1.0 if bays == 1 else 0.85 + 0.3 * (bay % 2)
            land.slab(rectangle(u + (bay + 0.5) * a / bays - a / 2, v, a / bays, b), paint, high, tone)
        for _ in range(rng.integers(0, 9)):  # roof vents and plant
            du, dv = rng.uniform(-0.42, 0.42, 2) * (a, b)
            land.slab(rectangle(u + du, v + dv, 4, 3), paint * 0.6, high + 2.5)
    elif use < 0.78:
        radius = rng.uniform(7, 14)
        for du in np.arange(-length / 2 + radius, length / 2 - radius, 2.7 * radius):
            for dv in np.arange(-width / 2 + radius, width / 2 - radius, 2.7 * radius):
                rim = ellipses(np.array([[u + du, v + dv]]), np.array([radius]), np.ones(1), np.zeros(1), vertices=24)[
                    0
                ]
                land.slab(rim, land.spectrum("bright_roof", 0.1), rng.uniform(9, 15))
    else:
        for du in np.arange(-length / 2 + 4, length / 2 - 4, rng.uniform(3.2, 5)):
            for dv in np.arange(-width / 2 + 6, width / 2 - 6, 14):
                if land.sees(u + du, v + dv) and rng.random() < 0.65:
                    paint = np.array(SHIP_PAINT[rng.integers(4)]) * rng.uniform(0.4, 1.6)
                    land.slab(rectangle(u + du, v + dv, 2.2, rng.choice([4.5, 12.0])), paint, 2.0)


def harbour(land: Land) -> None:
    """Quays, moored ships or a marina, container stacks and sheds beside the water."""
    rng = land.rng
    land.open(rng.uniform(280, 620))
    muddy = rng.random()
    sea = land.spectrum("water") * (1 - muddy) + land.spectrum("turbid_water") * muddy
    glint = noise(rng, land.n, 1.2, low=8, stretch=0.5, angle=land.angle)
    land.reflectance = sea * np.exp(0.10 * glint + 0.12 * noise(rng, land.n, 3.0))[..., None]
    reach, coast = land.extent * 0.9, rng.uniform(-0.2, 0.2) * land.extent
    quay = land.spectrum("concrete", 0.2)
    land.slab(np.array([[-reach, coast], [reach, coast], [reach, reach], [-reach, reach]]), quay, 3.0)
    ground = land.spectrum(str(rng.choice(["asphalt", "gravel", "grass"])), 0.2)
    land.slab(np.array([[-reach, coast + 45], [reach, coast + 45], [reach, reach], [-reach, reach]]), ground, 3.0)
    marina = rng.random() < 0.4
    pitch = rng.uniform(38, 60) if marina else rng.uniform(110, 190)
    for u in np.arange(-reach + rng.uniform(0, pitch), reach, pitch):
        long = land.extent * rng.uniform(0.12, 0.5)
        wide = 3.0 if marina else rng.uniform(14, 45)
        land.slab(rectangle(u, coast - long / 2, wide, long), quay * rng.uniform(0.8, 1.1), 3.0)
        for side in (-1, 1):
            _berths(land, u + side * wide / 2, coast, long, side, marina)
    for _ in range(rng.integers(4, 14)):
        u, v = rng.uniform(-0.6, 0.6) * land.extent, coast + rng.uniform(60, 0.6 * land.extent)
        land.slab(
            rectangle(u, v, rng.uniform(30, 90), rng.uniform(18, 40)),
            land.spectrum(str(rng.choice(["bright_roof", "slate_roof", "blue_roof", "tile_roof"]))),
            12.0,
        )
    if not marina or rng.random() < 0.3:
        for u in np.arange(-reach, reach, 14):
            for v in np.arange(coast + 14, coast + 40, 3.2):
                if land.sees(u, v) and rng.random() < 0.6:
                    paint = np.array(SHIP_PAINT[rng.integers(4)]) * rng.uniform(0.5, 1.3)
                    land.slab(rectangle(u, v, 12.2, 2.5), paint, 3 + 2.6 * rng.integers(1, 4))
    for _ in range(rng.integers(0, 4)):
        _ship(
            land,
            rng.uniform(-0.5, 0.5) * land.extent,
            coast - rng.uniform(0.2, 0.6) * land.extent,
            rng.uniform(0, 6.3),
            rng.uniform(8, 90),
        )
    if rng.random() < 0.7:
        land.slab(rectangle(0, coast + rng.uniform(48, 70), 3 * reach, 9), land.spectrum("asphalt", 0.2))
    land.draw()
    ashore = land.objects > 2.5
    wear = np.exp(0.13 * noise(rng, land.n, 2.2, low=1.5)) * land.texture(1.2, 0.07)
    land.reflectance = np.where(ashore[..., None], land.reflectance * wear[..., None], land.reflectance)
    green = ashore & (land.reflectance[..., 3] > 2.0 * land.reflectance[..., 2])
    land.trees(green * F32(rng.uniform(0.1, 0.5)), 8.0)


def _berths(land: Land, u: float, coast: float, long: float, side: int, marina: bool) -> None:
    """Boats or ships along one side of a pier."""
    rng = land.rng
    if marina:
        for v in np.arange(coast - long + 3, coast - 6, 4.6):
            if land.sees(u, v) and rng.random() < 0.8:
                length = rng.uniform(8, 13)
                _ship(land, u + side * (length / 2 + 1), v, np.pi * rng.integers(2), length)
    elif rng.random() < 0.75 and long > 60:
        length = min(long * rng.uniform(0.7, 1.0), rng.uniform(60, 180))
        _ship(land, u + side * (length * 0.075 + 3), coast - long / 2, np.pi / 2 * rng.choice([1, -1]), length)


def _ship(land: Land, u: float, v: float, heading: float, length: float) -> None:
    """A hull with a pointed bow, deck, bridge and, on large ones, hatches or boxes."""
    rng, beam = land.rng, length * land.rng.uniform(0.14, 0.2) * (1.6 if length < 15 else 1.0)
    hull = np.array([[-0.5, -0.5], [0.3, -0.5], [0.5, 0.0], [0.3, 0.5], [-0.5, 0.5]]) * (length, beam)
    paint = (
        land.spectrum("bright_roof", 0.2)
        if length < 30
        else np.array(SHIP_PAINT[rng.integers(4)]) * rng.uniform(0.5, 1.4)
    )
    land.slab(turn(hull.astype(F32), heading) + np.array([u, v], F32), np.asarray(paint), 3 + 0.05 * length)
    boxes = int(length // 14)
    for slot in range(boxes):
        centre = turn(np.array([(-0.25 + 0.5 * slot / max(boxes, 1)) * length, 0], F32), heading) + np.array(
            [u, v], F32
        )
        colour = np.array(SHIP_PAINT[rng.integers(4)]) * rng.uniform(0.5, 1.5)
        land.slab(
            rectangle(centre[0], centre[1], length * 0.4 / boxes, beam * 0.75, heading), colour, 6 + 0.06 * length
        )
    stern = turn(np.array([-0.38 * length, 0], F32), heading) + np.array([u, v], F32)
    land.slab(
        rectangle(stern[0], stern[1], 0.12 * length, 0.7 * beam, heading),
        land.spectrum("bright_roof", 0.1),
        8 + 0.08 * length,
    )
