"""Radar targets as bodies, which cast shadow and layover, and point scatterers with aspect dependence.

Lengths in metres, body frame: x forward, y to the side. A scatterer is (x, y, z, amplitude, mechanism, normal, lobe):
its amplitude falls as a Gaussian of the angle between the line of sight and `normal`; lobe 0 is isotropic.
Broad lobes are trihedral corners and cavities, narrow ones flat dihedrals and leading edges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from acclimate.synthetic.canvas import ellipses, rectangle

DOUBLE, VOLUME, SURFACE = 0, 1, 2
TRIHEDRAL, DIHEDRAL, EDGE = 0.75, 0.13, 0.07  # widths of lobes in radians
FRONT, LEFT, BACK, RIGHT = 0.0, np.pi / 2, np.pi, -np.pi / 2


@dataclass
class Target:
    """An object and its radar signature.

    Args:
        extent: size that a chip has to hold, metres.
        strength: radar cross-section relative to the other targets.
        at_sea: surrounded by water.
        quay: width of a ship when it may lie at a quay, else 0.
        banks: polygons (k, 2) of land in the water.
        bodies: polygons (k, 2) with the height of their top.
        points: scatterers, see the module.
    """

    extent: float
    strength: float = 1.0
    at_sea: bool = False
    quay: float = 0.0
    banks: list[np.ndarray] = field(default_factory=list)
    bodies: list[tuple[np.ndarray, float]] = field(default_factory=list)
    points: list[tuple[float, float, float, float, int, float, float]] = field(default_factory=list)

    def box(self, x: float, y: float, length: float, width: float, top: float, turned: float = 0.0) -> None:
        """A solid block."""
        self.bodies.append((rectangle(x, y, length, width, turned), top))

    def corner(self, x: float, y: float, z: float, amplitude: float, normal: float, lobe: float = TRIHEDRAL) -> None:
        """A trihedral corner or cavity that opens towards `normal`."""
        self.points.append((x, y, z, amplitude, SURFACE, normal, lobe))

    def speck(self, x: float, y: float, z: float, amplitude: float) -> None:
        """A small isotropic scatterer."""
        self.points.append((x, y, z, amplitude, VOLUME, 0.0, 0.0))

    def row(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        z: float,
        amplitude: float,
        normal: float,
        lobe: float,
        count: int,
        mechanism: int = DOUBLE,
    ) -> None:
        """Scatterers along a line: the facets of a dihedral, an edge, a cylinder seen broadside."""
        for t in np.linspace(0, 1, count):
            x, y = start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])
            self.points.append((x, y, z, amplitude, mechanism, normal, lobe))

    def sides(
        self, length: float, width: float, amplitude: float, count: int, x: float = 0.0, lobe: float = DIHEDRAL
    ) -> None:
        """Dihedrals between the ground and the four walls of a box about (x, 0)."""
        a, b = length / 2, width / 2
        self.row((x - a, b), (x + a, b), 0.1, amplitude, LEFT, lobe, count)
        self.row((x - a, -b), (x + a, -b), 0.1, amplitude, RIGHT, lobe, count)
        few = max(2, round(count * width / length))
        self.row((x + a, -b), (x + a, b), 0.1, amplitude, FRONT, lobe * 1.5, few)
        self.row((x - a, -b), (x - a, b), 0.1, amplitude, BACK, lobe * 1.5, few)


def bridge(rng: np.random.Generator) -> Target:
    """A deck over water: the direct, the double-bounce and the triple-bounce echo lie side by side, with the banks.

    A triple bounce travels as if it came from as far below the water as the deck stands above it.
    """
    span, width, deck = rng.uniform(90, 260), rng.uniform(9, 24), rng.uniform(6, 18)
    target = Target(span * rng.uniform(0.9, 1.15), 2.2, at_sea=True)
    far = 4 * span
    for side in (-1, 1):
        edge = side * span * rng.uniform(0.36, 0.5)
        line = np.linspace(-far / 2, far / 2, 60)
        ragged = edge + np.cumsum(rng.normal(0, span * 0.012, 60))
        ragged += edge - ragged[30]
        shore = np.stack([ragged, line], axis=-1)
        target.banks.append(np.concatenate([shore, [[side * far, far / 2], [side * far, -far / 2]]]))
    target.box(0, 0, span * 3, width, deck)
    count = int(span / 2.2)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        y = side * width / 2
        target.row((-span * 0.7, y), (span * 0.7, y), deck, 0.6, normal, 0.6, count, SURFACE)
        target.row((-span * 0.45, y), (span * 0.45, y), 0.1, 0.8, normal, 0.45, count)
        target.row((-span * 0.42, y), (span * 0.42, y), -deck, 0.4, normal, 0.4, count)
    for pier in np.linspace(-0.4, 0.4, int(rng.integers(3, 9))) * span:
        target.corner(pier, 0, deck * 0.4, 1.0, 0.0, 0.0)
        target.speck(pier, 0, deck + 1.5, 0.9)
    for _ in range(rng.integers(0, 12)):  # traffic
        target.speck(rng.uniform(-0.6, 0.6) * span, rng.uniform(-0.4, 0.4) * width, deck + 1.5, 1.0)
    return target


def tracked_vehicle(rng: np.random.Generator) -> Target:
    """Hull, tracks, a turret that may be turned, and a gun."""
    length, width = rng.uniform(6.0, 7.6), rng.uniform(3.1, 3.7)
    target = Target(length * 1.9, 3.5)
    turret, x0 = rng.normal(0, 0.9), rng.uniform(-0.5, 0.4)
    target.box(0, 0, length, width, 1.3)
    target.box(x0, 0, 2.9, 2.3, 2.3, turret)
    gun = np.array([np.cos(turret), np.sin(turret)])
    barrel = rng.uniform(3.4, 5.4)
    for t in np.linspace(1.5, 1.5 + barrel, 6):
        target.points.append((x0 + gun[0] * t, gun[1] * t, 1.9, 0.30, SURFACE, turret + LEFT, 0.25))
        target.points.append((x0 + gun[0] * t, gun[1] * t, 1.9, 0.30, SURFACE, turret + RIGHT, 0.25))
    target.speck(x0 + gun[0] * (1.5 + barrel), gun[1] * (1.5 + barrel), 1.9, 0.5)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        target.row((-length / 2, side * width / 2), (length / 2, side * width / 2), 0.3, 0.42, normal, 0.5, 9)
        target.corner(length / 2, side * width * 0.42, 0.8, 0.9, normal * 0.35)
        target.corner(-length / 2, side * width * 0.42, 0.9, 1.0, BACK - 0.5 * side)
        target.corner(x0, side * 1.15, 1.5, 1.2, normal, 1.0)
    for _ in range(rng.integers(4, 10)):  # hatches, stowage, grille
        target.speck(rng.uniform(-length / 2, length / 3), rng.uniform(-1.3, 1.3), rng.uniform(1.3, 2.4), 0.4)
    target.corner(x0 + 1.5 * gun[0], 1.5 * gun[1], 1.6, 1.0, turret, 0.8)
    target.corner(x0 - 1.6 * gun[0], -1.6 * gun[1], 1.6, 1.1, turret + np.pi, 0.9)
    return target


def _wing(root: float, chord: float, span: float, sweep: float, tip: float) -> np.ndarray:
    """Both halves of a swept wing as one polygon."""
    back = np.tan(sweep) * span / 2
    half = [(root, 0), (root - back, span / 2), (root - back - tip, span / 2), (root - chord, 0)]
    return np.array(half + [(x, -y) for x, y in half[::-1]])


def airliner(rng: np.random.Generator) -> Target:
    """Fuselage, swept wing with engine pods, tail."""
    length = rng.uniform(33, 70)
    span, sweep, radius = length * rng.uniform(0.88, 1.0), np.radians(rng.uniform(24, 33)), length * 0.05
    target = Target(length * 1.15, 3.5)
    root, chord, floor = length * 0.12, length * 0.19, radius * 1.3
    target.bodies.append((_wing(root, chord, span, sweep, chord * 0.25), floor + 0.2 * radius))
    target.bodies.append(
        (_wing(-length * 0.38, length * 0.09, span * 0.36, sweep, length * 0.04), floor + 1.2 * radius)
    )
    target.box(0, 0, length * 0.92, 2 * radius, floor + 1.7 * radius)
    target.box(-length * 0.43, 0, length * 0.12, 0.8, floor + 4.2 * radius)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        target.row((-length * 0.42, side * radius), (length * 0.42, side * radius), floor, 0.8, normal, 0.10, 26)
        tip_x = root - np.tan(sweep) * span / 2
        target.row(
            (root, side * radius), (tip_x, side * span / 2), floor + 0.5, 0.6, side * (LEFT - sweep), EDGE, 14, SURFACE
        )
        target.row(
            (root - chord, side * radius), (tip_x, side * span / 2), floor, 0.5, side * (LEFT + 0.18), EDGE, 10, SURFACE
        )
        for share in (0.33, 0.62) if length > 62 and rng.random() < 0.6 else (0.36,):
            x = root - np.tan(sweep) * span / 2 * share + 1.5
            target.corner(x, side * span / 2 * share, floor * 0.6, 2.2, FRONT, 1.1)
            target.corner(x - 4, side * span / 2 * share, floor * 0.6, 1.6, BACK, 1.0)
            target.corner(x - 2, side * span / 2 * share, 0.4, 1.2, normal, 0.8)
        target.corner(root - chord * 0.5, side * radius, floor, 1.5, normal, 0.9)
        target.corner(-length * 0.42, side * radius * 0.5, floor + radius, 1.3, normal, 0.8)
        target.speck(tip_x, side * span / 2, floor + 0.8, 0.6)
        target.corner(-length * 0.05, side * 3.5, 0.8, 0.8, normal, 1.2)
    target.corner(length * 0.46, 0, floor + 0.5 * radius, 1.2, FRONT, 1.0)
    target.corner(length * 0.36, 0, 0.8, 0.8, FRONT, 1.4)
    target.speck(-length * 0.47, 0, floor + 4 * radius, 0.8)
    return target


def fighter_jet(rng: np.random.Generator) -> Target:
    """Delta or strongly swept wing, intakes, one or two fins, stores under the wing."""
    length = rng.uniform(14, 21)
    span, sweep = length * rng.uniform(0.55, 0.75), np.radians(rng.uniform(40, 56))
    target = Target(length * 1.35, 3.5)
    root, chord = length * 0.16, length * rng.uniform(0.36, 0.48)
    target.bodies.append((_wing(root, chord, span, sweep, length * 0.06), 1.9))
    target.bodies.append((_wing(-length * 0.28, length * 0.16, span * 0.55, sweep, length * 0.08), 2.0))
    target.box(0, 0, length * 0.9, 1.8, 2.7)
    fins = (-1, 1) if rng.random() < 0.55 else (0,)
    for fin in fins:
        target.box(-length * 0.36, fin * 1.3, length * 0.14, 0.35, 4.4)
        target.row((-length * 0.42, fin * 1.3), (-length * 0.3, fin * 1.3), 2.4, 0.8, LEFT, 0.2, 4)
        target.row((-length * 0.42, fin * 1.3), (-length * 0.3, fin * 1.3), 2.4, 0.8, RIGHT, 0.2, 4)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        target.corner(length * 0.14, side * 1.1, 1.6, 1.9, FRONT, 0.9)
        target.row((-length * 0.4, side * 0.9), (length * 0.35, side * 0.9), 1.3, 0.55, normal, 0.14, 12)
        tip_x = root - np.tan(sweep) * span / 2
        target.row(
            (root, side * 0.9), (tip_x, side * span / 2), 1.9, 0.55, side * (LEFT - sweep), EDGE * 1.4, 9, SURFACE
        )
        target.corner(-length * 0.1, side * 1.0, 1.6, 1.1, normal, 0.9)
        for share in rng.uniform(0.35, 0.9, rng.integers(0, 4)):
            target.corner(root - chord * 0.5 - 1.2 * share, side * span / 2 * share, 1.3, 0.8, normal / 2, 1.3)
        target.speck(tip_x - 0.5, side * span / 2, 1.9, 0.5)
    target.corner(-length * 0.46, 0, 1.9, 1.7, BACK, 0.8)
    target.speck(length * 0.28, 0, 2.7, 0.7)
    target.speck(length * 0.47, 0, 1.9, 0.4)
    return target


def helicopter(rng: np.random.Generator) -> Target:
    """Cabin, tail boom, rotor hub and blades that flash at right angles."""
    length = rng.uniform(12, 19)
    target = Target(length * 1.5, 3.0)
    cabin, wide = length * 0.45, rng.uniform(2.0, 2.8)
    target.bodies.append(
        (
            ellipses(
                np.array([[length * 0.18, 0.0]]),
                np.array([np.sqrt(cabin * wide) / 2]),
                np.array([cabin / wide]),
                np.zeros(1),
                vertices=18,
            )[0],
            2.9,
        )
    )
    target.box(-length * 0.24, 0, length * 0.5, 0.8, 2.4)
    target.box(-length * 0.47, 0, 1.2, 0.35, 4.0)
    target.box(-length * 0.40, 0, 0.7, 2.6, 2.5)
    hub = length * 0.14
    target.corner(hub, 0, 3.7, 2.0, 0.0, 0.0)
    blades, phase = int(rng.integers(2, 6)), rng.uniform(0, 2 * np.pi)
    for blade in range(blades):
        heading = phase + 2 * np.pi * blade / blades
        reach = length * 0.48
        end = (hub + reach * np.cos(heading), reach * np.sin(heading))
        for normal in (heading + LEFT, heading + RIGHT):
            target.row((hub, 0), end, 3.8, 0.5, normal, 0.12, 12, SURFACE)
        target.speck(*end, 3.8, 0.3)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        target.row((length * 0.02, side * wide / 2), (length * 0.36, side * wide / 2), 0.8, 0.6, normal, 0.3, 6)
        target.row((-length * 0.45, side * 0.4), (0, side * 0.4), 1.8, 0.4, normal, 0.12, 8)
        target.corner(hub, side * wide * 0.5, 2.2, 1.1, normal, 0.9)
        target.corner(-length * 0.4, side * 0.4, 2.2, 0.9, normal, 0.8)
        target.row((length * 0.05, side * wide * 0.6), (length * 0.3, side * wide * 0.6), 0.2, 0.4, normal, 0.2, 4)
    target.corner(length * 0.38, 0, 1.4, 1.0, FRONT, 0.9)
    target.corner(-length * 0.48, 0, 3.2, 0.9, LEFT, 1.5)
    return target


def storage_tank(rng: np.random.Generator) -> Target:
    """A cylinder: double bounce at the near foot, the near and far rims laid over, the floating roof inside."""
    radius = rng.uniform(10, 26)
    high = rng.uniform(9, 18)
    target = Target(radius * 2 * rng.uniform(1.5, 2.4), 1.3)
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    ring = np.stack([np.cos(t), np.sin(t)], axis=-1)
    spots = [(0.0, 0.0)]
    if rng.random() < 0.5:
        away, pitch = rng.uniform(0, 2 * np.pi), radius * rng.uniform(2.4, 3.2)
        spots += [
            (pitch * np.cos(away + k * np.pi / 2), pitch * np.sin(away + k * np.pi / 2))
            for k in range(rng.integers(1, 4))
        ]
    roof = high * rng.uniform(0.25, 1.0)  # a floating roof lies below the rim
    for x, y in spots:
        target.bodies.append((ring * radius + (x, y), high))
        for angle in t:
            dx, dy = radius * np.cos(angle), radius * np.sin(angle)
            target.points.append((x + dx, y + dy, 0.1, 0.8, DOUBLE, angle, 0.6))
            target.points.append((x + dx, y + dy, high, 0.42, SURFACE, angle, 0.7))
            target.points.append((x + dx, y + dy, high, 0.36, SURFACE, angle + np.pi, 0.5))
            if roof < 0.9 * high:
                target.points.append((x + 0.97 * dx, y + 0.97 * dy, roof + high, 0.5, DOUBLE, angle + np.pi, 0.45))
        stair = rng.uniform(0, 2 * np.pi)
        for share in np.linspace(0, 1, 7):
            target.speck(
                x + radius * np.cos(stair + 0.6 * share), y + radius * np.sin(stair + 0.6 * share), share * high, 0.5
            )
        target.speck(x, y, high + 0.5, 0.6)
    if rng.random() < 0.6:  # bund around the tank
        wall = radius * rng.uniform(1.35, 1.6)
        for side in range(4):
            a, b = side * np.pi / 2 + np.pi / 4, (side + 1) * np.pi / 2 + np.pi / 4
            target.row(
                (wall * 1.4 * np.cos(a), wall * 1.4 * np.sin(a)),
                (wall * 1.4 * np.cos(b), wall * 1.4 * np.sin(b)),
                0.5,
                0.35,
                (a + b) / 2,
                0.25,
                26,
            )
    return target


def _hull(length: float, width: float) -> np.ndarray:
    """Deck outline with a pointed bow and a square stern."""
    return np.array(
        [
            [-0.5, -0.45],
            [-0.46, -0.5],
            [0.34, -0.5],
            [0.46, -0.22],
            [0.5, 0],
            [0.46, 0.22],
            [0.34, 0.5],
            [-0.46, 0.5],
            [-0.5, 0.45],
        ]
    ) * (length, width)


def _ship(rng: np.random.Generator, length: float, width: float, deck: float) -> Target:
    """What all ships share: hull, waterline dihedral, stern, bow and mast."""
    target = Target(length * 1.12, 1.6, at_sea=True, quay=width)
    target.bodies.append((_hull(length, width), deck))
    target.sides(length * 0.86, width, 0.7, 34, -0.03 * length, 0.09)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        target.row(
            (-length * 0.48, side * width / 2), (length * 0.36, side * width / 2), deck, 0.35, normal, 0.6, 30, SURFACE
        )
        target.row((length * 0.36, side * width / 2), (length * 0.5, 0), deck, 0.4, normal * 0.6, 0.4, 6, SURFACE)
    target.corner(-length * 0.49, 0, deck * 0.7, 1.4, BACK, 1.0)
    target.speck(length * 0.45, 0, deck + 5, 1.0)
    return target


def _bridge(rng: np.random.Generator, target: Target, x: float, width: float, top: float) -> None:
    """Superstructure: many corners and the strongest return of the ship."""
    deep = rng.uniform(10, 18)
    target.box(x, 0, deep, width * 0.92, top)
    for side, normal in ((1, LEFT), (-1, RIGHT)):
        for z in np.linspace(top * 0.45, top, 5):
            target.corner(x, side * width * 0.45, z, 0.9, normal, 0.9)
    for y in np.linspace(-0.4, 0.4, 5) * width:
        target.corner(x + deep / 2, y, rng.uniform(0.4, 1.0) * top, 1.1, FRONT, 1.0)
        target.corner(x - deep / 2, y, rng.uniform(0.4, 1.0) * top, 1.0, BACK, 1.0)
    target.speck(x, 0, top + 6, 1.6)


def container_ship(rng: np.random.Generator) -> Target:
    """Bays of stacked containers with gaps between them, bridge aft or amidships."""
    length = rng.uniform(140, 320)
    width, deck = length * rng.uniform(0.12, 0.15), rng.uniform(7, 11)
    target = _ship(rng, length, width, deck)
    bridge = length * rng.choice([-0.32, -0.22, 0.18])
    bay = rng.uniform(13.5, 16.5)
    for x in np.arange(-length * 0.43, length * 0.38, bay):
        if abs(x - bridge) < 16:
            continue
        if rng.random() < rng.uniform(0.75, 1.0):
            top = deck + 2.6 * rng.integers(1, 8)
            target.box(x, 0, 12.2, width * 0.94, top)
            for side, normal in ((1, LEFT), (-1, RIGHT)):
                target.row(
                    (x - 6, side * width * 0.47), (x + 6, side * width * 0.47), top, 0.6, normal, 0.25, 4, SURFACE
                )
                target.corner(x + bay / 2, side * width * 0.4, deck + 1, 0.8, normal, 0.6)
            for y in np.linspace(-0.42, 0.42, 6) * width:
                target.corner(x + 6.1, y, top, 0.7, FRONT, 0.8)
                target.corner(x - 6.1, y, top, 0.7, BACK, 0.8)
    _bridge(rng, target, bridge, width, deck + rng.uniform(22, 30))
    return target


def tanker_ship(rng: np.random.Generator) -> Target:
    """A flat deck with a pipe rack along the middle, manifold amidships, bridge aft."""
    length = rng.uniform(120, 330)
    width, deck = length * rng.uniform(0.15, 0.19), rng.uniform(5, 11)
    target = _ship(rng, length, width, deck)
    for normal in (LEFT, RIGHT):
        target.row((-length * 0.32, 0), (length * 0.42, 0), deck + 2, 0.75, normal, 0.5, 40)
    for x in np.arange(-length * 0.3, length * 0.42, rng.uniform(12, 24)):
        target.speck(x, 0, deck + 2, 0.7)
        for y in (-0.3, 0.3):
            if rng.random() < 0.5:
                target.speck(x, y * width, deck + 1, 0.4)
    middle = length * rng.uniform(0.0, 0.08)
    for y in np.linspace(-0.42, 0.42, 7) * width:
        target.corner(middle + rng.normal(0, 1.5), y, deck + 1.5, 1.0, 0.0, 0.0)
    for side in (-1, 1):
        target.speck(middle, side * width * 0.3, deck + 12, 1.1)
    _bridge(rng, target, -length * rng.uniform(0.36, 0.4), width, deck + rng.uniform(14, 22))
    return target


TARGETS: dict[str, Callable[[np.random.Generator], Target]] = {
    "airliner": airliner,
    "bridge": bridge,
    "container_ship": container_ship,
    "fighter_jet": fighter_jet,
    "helicopter": helicopter,
    "storage_tank": storage_tank,
    "tanker_ship": tanker_ship,
    "tracked_vehicle": tracked_vehicle,
}
