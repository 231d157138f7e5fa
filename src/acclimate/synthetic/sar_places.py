"""Places with several radar targets, each of which is known: what stands where, and how large it is.

A place is composed first, of targets that do not touch one another, and painted after that, so that what is said of it
does not depend on what can be seen.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from acclimate.synthetic.canvas import turn
from acclimate.synthetic.fields import F32
from acclimate.synthetic.sar import ACQUISITIONS, Ground, clutter, develop, place, project, scatterers
from acclimate.synthetic.sar_targets import TARGETS, Target
from acclimate.synthetic.scenes import Scene, Thing

PLACES = {
    "roadstead": ("container_ship", "tanker_ship"),
    "airfield": ("airliner", "fighter_jet", "helicopter"),
    "vehicle park": ("tracked_vehicle", "helicopter"),
}
MOST = 4  # targets of a place
LARGEST = (0.12, 0.38)  # range of the length of the longest one, as a share of the edge
SMALLEST = 0.05  # length of the shortest one, likewise
MARGIN = 0.04  # of a target to another and to the edge, as a share of the edge
TRIES = 100
QUIET = 6.0  # dB by which the clutter is weaker than around a single target, which fills more of its image


def compose(rng: np.random.Generator) -> tuple[Scene, list[Target]]:
    """Return a place, and the radar signatures of what stands there.

    Args:
        rng: source of everything random.
    """
    name = str(rng.choice(list(PLACES)))
    count = int(rng.integers(1, MOST + 1))
    while True:
        kinds = [str(kind) for kind in rng.choice(PLACES[name], count)]
        targets = [TARGETS[kind](rng) for kind in kinds]
        metres = [_length(target) for target in targets]
        least = max(LARGEST[0], SMALLEST * max(metres) / min(metres))
        scale = rng.uniform(least, max(LARGEST[1], least)) / max(metres)
        spots = _spread(rng, [scale * length for length in metres]) if least < LARGEST[1] else None
        if spots is not None:
            break
    turned = rng.uniform(0, 2 * np.pi, count)
    things = tuple(
        Thing(kind, float(x), float(y), float(scale * length), float(angle))
        for kind, (x, y), length, angle in zip(kinds, spots, metres, turned, strict=True)
    )
    return Scene(name, PLACES[name], things, float(1 / scale)), targets


def _length(target: Target) -> float:
    """Return the longest extent of a target in metres, whichever way it is turned."""
    corners = _corners(target)
    apart = corners[:, None] - corners[None]
    return float(np.hypot(apart[..., 0], apart[..., 1]).max())


def _corners(target: Target) -> np.ndarray:
    """Return the points (k, 2) that a target consists of, in its own frame."""
    return np.concatenate(
        [*(np.asarray(shape, F32) for shape, _ in target.bodies), np.array(target.points, F32)[:, :2]]
    )


def _spread(rng: np.random.Generator, lengths: list[float]) -> np.ndarray | None:
    """Return places (k, 2) of discs of these diameters, apart from one another and from the edge; none if it fails."""
    radii = np.array(lengths) / 2 + MARGIN
    found: list[np.ndarray] = []
    for radius in radii:
        for _ in range(TRIES):
            spot = rng.uniform(radius, 1 - radius, 2)
            others = zip(found, radii, strict=False)
            if all(np.hypot(*(spot - other)) > radius + its - MARGIN for other, its in others):
                found.append(spot)
                break
        else:
            return None
    return np.array(found)


def paint(scene: Scene, targets: list[Target], acquisition: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """A detected image of a place, (size, size, 3) in [0, 1].

    Args:
        scene: what stands where.
        targets: their radar signatures.
        acquisition: one of the acquisition domains.
        rng: source of clutter and speckle.
        size: edge in pixels.
    """
    radar, sea = ACQUISITIONS[acquisition], targets[0].at_sea
    n = fft.next_fast_len(size * 5 // 4)
    pixel = scene.metres / size
    extent, edge = pixel * n, (n - size) // 2
    incidence = np.radians(rng.uniform(*radar.incidence))
    level = 10 ** ((rng.uniform(*radar.clutter) - QUIET) / 10)
    ground = _plain(clutter(rng, n, pixel, sea, level), level)
    centres = [
        np.array([thing.x, thing.y]) * scene.metres + edge * pixel - _middle(target, thing.turned, incidence)
        for thing, target in zip(scene.things, targets, strict=True)
    ]
    for thing, target, centre in zip(scene.things, targets, centres, strict=True):
        place(target, ground, thing.turned, centre, extent, rng.uniform(0.1, 0.8) * level, 1.0)
    strength = targets[0].strength * np.exp(rng.normal(0, 0.2))
    power, past = project(ground, pixel, incidence, 60.0 * strength / max(0.5 * scene.metres, 20.0))
    points, geometry = np.zeros_like(power), (pixel, incidence, past)
    for thing, target, centre in zip(scene.things, targets, centres, strict=True):
        points += scatterers(rng, target, thing.turned, centre, geometry, radar.persistence)
    return develop(rng, radar, power, points * F32(26.0 * np.sqrt(strength)), size, sea)


def _middle(target: Target, turned: float, incidence: float) -> np.ndarray:
    """Return where a target appears from its own origin, in metres: what is high lies nearer the radar (layover)."""
    corners, points = turn(_corners(target), turned), np.array(target.points, F32)
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    high = np.average(np.clip(points[:, 2], 0, None), weights=points[:, 3])
    return middle - np.array([0.0, high / np.tan(incidence)])


def _plain(ground: Ground, level: float) -> Ground:
    """Return open ground: no trees, which would stand among the targets like others of their kind."""
    ground.power = np.minimum(ground.power, F32(3.0 * level))
    ground.height = np.zeros_like(ground.height)
    return ground
