"""Two-dimensional flows: analytic ones through their stream function or vortices, the others cut from solver runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from acclimate.synthetic.fields import F32, grid, noise, smoothstep
from acclimate.synthetic.solver import SNAPSHOTS, snapshots

SOLVED = ("decaying_turbulence", "plane_jet", "shear_layer")


def lamb_oseen(
    x: np.ndarray, y: np.ndarray, circulation: float, core: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vorticity and velocity of a Lamb-Oseen vortex at the origin.

    u_theta = G / (2 pi r) (1 - exp(-r^2 / c^2)),  w = G / (pi c^2) exp(-r^2 / c^2)  (Lamb 1932; Saffman 1992, 13.1)

    Args:
        x: position relative to the centre.
        y: as x.
        circulation: G.
        core: c = sqrt(4 nu t).
    """
    r2 = x * x + y * y
    decay = np.exp(-r2 / F32(core * core))
    swirl = F32(circulation / (2 * np.pi)) * (1 - decay) / np.maximum(r2, F32(1e-8))
    return F32(circulation / (np.pi * core * core)) * decay, -swirl * y, swirl * x


class View:
    """The part of a flow in the image: rotated, zoomed, with the fields that are wanted.

    Args:
        rng: source of everything random.
        n: edge in pixels.
        wants: "vorticity", "velocity" or "dye"; solver runs are only resampled for what is wanted.
    """

    def __init__(self, rng: np.random.Generator, n: int, wants: str) -> None:
        self.rng, self.n, self.wants = rng, n, wants
        self.angle = (0, 0, 0, 2, 1)[rng.integers(5)] * np.pi / 2 + rng.normal(0, 0.1)
        self.mirror = F32(1.0 if rng.random() < 0.7 else -1.0)
        x, y = grid(n)
        x, y = (x - 0.5) * self.mirror, y - F32(0.5)
        c, s = F32(np.cos(self.angle)), F32(np.sin(self.angle))
        self.x, self.y = c * x + s * y, c * y - s * x  # flow axes, the image is one unit wide
        self.vorticity: np.ndarray = np.zeros((n, n), F32)
        self.u: np.ndarray = self.vorticity
        self.v: np.ndarray = self.vorticity
        self.dye: np.ndarray = self.vorticity
        self.solid: np.ndarray | None = None

    def velocity(self, u: np.ndarray, v: np.ndarray) -> None:
        """Set the velocity from components along the flow axes."""
        c, s = F32(np.cos(self.angle)), F32(np.sin(self.angle))
        self.u, self.v = self.mirror * (c * u - s * v), s * u + c * v

    def stream(self, psi: np.ndarray) -> None:
        """Add a flow given by its stream function on the image: u = d psi/dy, v = -d psi/dx, w = -lap(psi)."""
        step = 1.0 / self.n
        slope_y, slope_x = np.gradient(psi, step)
        self.u, self.v = self.u + slope_y, self.v - slope_x
        self.vorticity = self.vorticity + np.gradient(-slope_x, step, axis=1) - np.gradient(slope_y, step, axis=0)

    def vortices(self, centres: np.ndarray, circulation: np.ndarray, core: np.ndarray) -> None:
        """Add Lamb-Oseen vortices at (k, 2) in the flow axes."""
        u, v = np.zeros_like(self.x), np.zeros_like(self.x)
        for (cx, cy), strength, size in zip(centres.astype(F32), circulation, core, strict=True):
            w, du, dv = lamb_oseen(self.x - cx, self.y - cy, float(strength), float(size))
            self.vorticity = self.vorticity + w
            u, v = u + du, v + dv
        before_u, before_v = self.u, self.v
        self.velocity(u, v)
        self.u, self.v = self.u + before_u, self.v + before_v

    def unrest(self, level: float, low: float = 2.0) -> None:
        """Add background turbulence, `level` relative to the velocity so far."""
        typical = float(np.sqrt(self.u.var() + self.v.var())) + 1e-6
        psi = noise(self.rng, self.n, 5.4, low=low, high=12.0)
        self.stream(psi * F32(level * typical / (np.hypot(*np.gradient(psi, 1.0 / self.n)).mean() + 1e-6)))

    def stain(self, paint: Callable[[np.ndarray, np.ndarray], np.ndarray], turns: float, drift: float = 0.0) -> None:
        """Dye: a pattern over the flow axes, carried back along the flow for `turns` image widths at typical speed.

        Args:
            paint: concentration from positions in the flow axes.
            turns: time, as path length at the typical speed in image widths.
            drift: velocity along the flow axis that is removed first.
        """
        if self.wants != "dye":
            return
        steps = 12
        c, s = np.cos(self.angle), np.sin(self.angle)
        u, v = self.u - F32(self.mirror * c * drift), self.v - F32(s * drift)
        typical = float(np.sqrt((u * u + v * v).mean())) + 1e-6
        hop = F32(turns * self.n / typical / steps)
        start = np.indices((self.n, self.n), dtype=F32)
        back = np.stack([v, u]) * hop
        shift = back.copy()
        for _ in range(steps - 1):  # compose the displacement with itself along the path
            where = start - shift
            shift = shift + np.stack([ndimage.map_coordinates(part, where, order=1, mode="nearest") for part in back])
        row, column = start - shift
        x, y = (column + F32(0.5)) / self.n - F32(0.5), (row + F32(0.5)) / self.n - F32(0.5)
        x = x * self.mirror
        self.dye = paint(F32(c) * x + F32(s) * y, F32(c) * y - F32(s) * x).astype(F32)


def solved(view: View, class_name: str, run: int, seed: int) -> None:
    """Cut a window out of a snapshot of a solver run; periodic copies do not appear twice in it."""
    rng = view.rng
    frame = snapshots(class_name, run, seed)[rng.integers(SNAPSHOTS)]
    n = frame.shape[-1]
    width = rng.uniform(0.65, 1.0) * n
    cx, cy = rng.uniform(0, n), rng.uniform(0, n)
    if class_name == "shear_layer":
        width = rng.uniform(0.5, 0.75) * n
        cy = (0.25 + 0.5 * rng.integers(2) + rng.normal(0, 0.04)) * n
    elif class_name == "plane_jet":
        width = rng.uniform(0.65, 1.0) * n
        cy = (0.5 + rng.normal(0, 0.06)) * n
    where = np.stack([cy + view.y * F32(width), cx + view.x * F32(width)])

    def cut(part: int) -> np.ndarray:
        return ndimage.map_coordinates(frame[part], where, order=2, mode="grid-wrap").astype(F32)

    if view.wants == "vorticity":
        view.vorticity = cut(0)
    elif view.wants == "dye":
        view.dye = cut(3)
    else:
        view.velocity(cut(1), cut(2))


def vortex_group(view: View) -> None:
    """One to five Lamb-Oseen vortices: single, dipole, merging pair, tripole or scattered."""
    rng = view.rng
    count = int(rng.integers(1, 6))
    centres = rng.normal(0, 0.18, (count, 2))
    core = rng.uniform(0.05, 0.13, count)
    circulation = rng.choice([-1, 1], count) * rng.uniform(0.5, 1.3, count)
    if count == 2 or rng.random() < 0.3:
        gap, lean = rng.uniform(0.09, 0.2), rng.uniform(0, 2 * np.pi)
        one = np.array([np.cos(lean), np.sin(lean)]) * gap
        centres = np.stack([one, -one]) + rng.normal(0, 0.08, 2)
        circulation = np.array([1.0, rng.choice([-1, 1])]) * rng.uniform(0.8, 1.2, 2)
        core = np.full(2, rng.uniform(0.06, 0.13))
    view.vortices(centres, circulation, core)
    view.unrest(rng.uniform(0.0, 0.25))
    pitch, slant = rng.uniform(4, 14), rng.uniform(0, np.pi)
    view.stain(
        lambda x, y: np.tanh(2 * np.sin(pitch * (np.cos(slant) * x + np.sin(slant) * y))), rng.uniform(0.15, 0.5)
    )


def taylor_green_array(view: View) -> None:
    """The cellular flow of Taylor and Green (1937), stretched, bent and perturbed."""
    rng = view.rng
    k, aspect = rng.uniform(2.2, 5.0) * np.pi, rng.uniform(0.7, 1.4)
    bend = F32(rng.uniform(0.0, 0.05))
    x = view.x + bend * noise(rng, view.n, 5.0, high=4.0) + F32(rng.uniform(-1, 1))
    y = view.y + bend * noise(rng, view.n, 5.0, high=4.0) + F32(rng.uniform(-1, 1))
    skew = F32(rng.normal(0, 0.15))
    psi = np.sin(F32(k) * (x + skew * y)) * np.sin(F32(k * aspect) * y) / F32(k * k)
    view.stream(psi * (1 + F32(rng.uniform(0, 0.3)) * noise(rng, view.n, 5.0, high=4.0)))
    view.unrest(rng.uniform(0.0, 0.22))
    view.stain(lambda x, y: np.sin(F32(k * 0.5) * x + 1) * np.cos(F32(k * aspect * 0.5) * y), rng.uniform(0.1, 0.35))


def karman_street(view: View) -> None:
    """A cylinder and its vortex street, h/a = 0.28 (von Karman 1911), cores growing by viscosity downstream."""
    rng = view.rng
    pitch = rng.uniform(0.2, 0.42)
    high, radius = pitch * rng.uniform(0.24, 0.36), pitch * rng.uniform(0.16, 0.24)
    start, axis = rng.uniform(-0.75, -0.15), rng.normal(0, 0.08)
    phase = rng.uniform(0, 1)
    order = np.arange(int(1.6 / (pitch / 2)))
    x = start + radius * 1.5 + (order + 1.0 - phase) * pitch / 2
    side = np.where(order % 2 == 0, 1.0, -1.0)
    travelled = np.clip(x - start, 0.02, None)
    wander = rng.normal(0, 0.05, len(order)) * pitch
    centres = np.stack([x + wander, axis + side * high / 2 * (1 + 0.25 * travelled) + wander[::-1]], axis=-1)
    core = np.sqrt((0.14 * pitch) ** 2 + rng.uniform(0.003, 0.012) * travelled * pitch)
    strength = side * np.exp(-rng.uniform(0.1, 0.7) * travelled) * rng.uniform(0.9, 1.1, len(order))
    sheet = np.linspace(0, 1, 5)
    shoulder = np.concatenate(
        [np.stack([start + sheet * (radius + 0.4 * pitch), np.full(5, axis + s * radius)], axis=-1) for s in (1, -1)]
    )
    view.vortices(centres, strength, core)
    view.vortices(shoulder, np.repeat([0.09, -0.09], 5), np.full(10, 0.08 * pitch + 0.006))
    speed = 1.7 / (2 * pitch) * 1.2
    dx, dy = view.x - F32(start), view.y - F32(axis)
    r4 = np.maximum(dx * dx + dy * dy, F32(radius**2)) ** 2
    lee = F32(speed * radius**2)
    u, v = view.u.copy(), view.v.copy()
    view.velocity(speed - lee * (dx * dx - dy * dy) / r4 * (dx < radius), -lee * 2 * dx * dy / r4 * (dx < radius))
    view.u, view.v = view.u + u, view.v + v
    view.unrest(rng.uniform(0.0, 0.15), low=4.0)
    if view.wants == "velocity" and rng.random() < 0.5:  # a camera that moves along with the vortices
        view.u, view.v = (
            view.u - F32(view.mirror * np.cos(view.angle) * speed),
            view.v - F32(np.sin(view.angle) * speed),
        )
    if rng.random() < 0.9:
        view.solid = dx * dx + dy * dy < radius**2
    thick = pitch * rng.uniform(0.1, 0.25)
    view.stain(
        lambda x, y: np.exp(-(((y - F32(axis)) / F32(thick)) ** 2)) * (x > start - 0.02),
        rng.uniform(0.15, 0.45),
        speed * 0.9,
    )


def boundary_layer(view: View) -> None:
    """A layer growing along a wall: Tollmien-Schlichting-like waves, near-wall vortices, a ragged turbulent edge."""
    rng = view.rng
    wall = rng.uniform(0.1, 0.42)
    y = F32(wall) - view.y  # distance from the wall
    thick = rng.uniform(0.05, 0.16) * np.sqrt(np.clip(view.x + F32(rng.uniform(0.6, 1.6)), 0.1, None))
    ragged = rng.uniform(0.0, 0.5)
    thick = thick * np.exp(F32(ragged) * noise(rng, view.n, 5.0, high=8.0, low=1.0))
    above = np.clip(y, 0, None)
    view.stream(-(above + thick * np.exp(-above / thick)))
    wave, share = rng.uniform(12, 40), above / thick
    sway = rng.uniform(0, 0.05) * thick * np.sin(F32(wave) * view.x + 1.2 * share) * share**2 * np.exp(-share)
    view.stream(sway)
    level = rng.uniform(0, 0.06) * (1 + ragged)
    swirls = noise(rng, view.n, 5.0, low=5.0, high=16.0, stretch=0.5, angle=round(float(view.angle), 1))
    view.stream(F32(level) * swirls * thick * share * np.exp(-0.7 * share))
    count = int(rng.integers(0, 7))
    if count:
        centres = np.stack([rng.uniform(-0.6, 0.6, count), wall - rng.uniform(0.03, 0.22, count)], axis=-1)
        view.vortices(centres, rng.uniform(0.02, 0.12, count), rng.uniform(0.02, 0.06, count))
    view.solid = y < 0
    view.vorticity = np.where(view.solid, 0, view.vorticity).astype(F32)
    view.u, view.v = (np.where(view.solid, 0, part).astype(F32) for part in (view.u, view.v))
    smoke = rng.uniform(0.05, 0.15)
    view.stain(
        lambda x, y: (
            np.tanh((F32(wall) - y) / F32(smoke)) + 0.4 * np.sin((F32(wall) - y) * F32(90)) * (y > wall - 2 * smoke)
        ),
        rng.uniform(0.1, 0.3),
        -0.8,
    )


def convection_cells(view: View) -> None:
    """Rayleigh-Benard rolls between plates seen from the side, with plumes that rise and sink at their edges."""
    rng = view.rng
    high, floor = rng.uniform(0.5, 0.95), rng.uniform(0.25, 0.5)
    z = (F32(floor) - view.y) / F32(high)  # 0 at the hot plate, 1 at the cold one
    k = np.pi / (high * rng.uniform(0.7, 1.25))
    bend = F32(rng.uniform(0.01, 0.05)) * noise(rng, view.n, 5.0, high=3.0)
    inside = np.clip(z, 0, 1)
    roll = np.sin(F32(k) * (view.x + bend) + rng.uniform(0, 6.3))
    envelope = np.sin(np.pi * inside) * np.tanh(inside / 0.12) * np.tanh((1 - inside) / 0.12)
    view.stream(roll * envelope * (1 + F32(rng.uniform(0, 0.5)) * noise(rng, view.n, 5.0, high=4.0)) / F32(k))
    view.unrest(rng.uniform(0.0, 0.2), low=3.0)
    view.solid = (z < 0) | (z > 1)
    view.u, view.v = (np.where(view.solid, 0, part).astype(F32) for part in (view.u, view.v))
    view.vorticity = np.where(view.solid, 0, view.vorticity).astype(F32)
    skin = rng.uniform(0.06, 0.14)

    def temperature(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        level = np.clip((F32(floor) - y) / F32(high), 0, 1)
        return np.exp(-level / F32(skin)) - np.exp(-(1 - level) / F32(skin)) + 0.25 * smoothstep(0, 1, 1 - level)

    view.stain(temperature, rng.uniform(0.8, 1.6) * high)


FLOWS: dict[str, Callable[[View], None]] = {
    "boundary_layer": boundary_layer,
    "convection_cells": convection_cells,
    "karman_street": karman_street,
    "taylor_green_array": taylor_green_array,
    "vortex_group": vortex_group,
}
