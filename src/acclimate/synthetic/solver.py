"""A small pseudo-spectral solver of the two-dimensional vorticity equation, with a passive dye.

    dw/dt + u . grad(w) = nu lap(w),   u = (d psi/dy, -d psi/dx),   lap(psi) = -w

on a doubly periodic box of edge 2 pi: derivatives in Fourier space, products on the grid with the smooth de-aliasing
filter of Hou and Li (2007), viscosity by an exact integrating factor, Heun's third-order Runge-Kutta step.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from acclimate.synthetic.fields import F32, generator, grid, noise

RUNS = 12  # distinct runs per class and collection; images cut from one run share a group
SNAPSHOTS = 5
GRID = 80


class Flow2D:
    """The state of one run.

    Args:
        vorticity: (n, n) at the start; its mean is removed.
        viscosity: kinematic, in units of the box; the dye diffuses with the same coefficient.
        dye: (n, n) concentration at the start, or None.
    """

    def __init__(self, vorticity: np.ndarray, viscosity: float, dye: np.ndarray | None = None) -> None:
        n = vorticity.shape[0]
        self.n = n
        self.kx = (fft.rfftfreq(n) * n).astype(F32)[None, :]
        self.ky = (fft.fftfreq(n) * n).astype(F32)[:, None]
        self.k2 = self.kx**2 + self.ky**2
        self._inverse = 1 / np.where(self.k2 == 0, F32(1), self.k2)
        self._keep = np.exp(-36 * (2 * self.kx / n) ** 36 - 36 * (2 * np.abs(self.ky) / n) ** 36).astype(F32)
        self.viscosity = viscosity
        fields = [vorticity - vorticity.mean()] + ([] if dye is None else [dye])
        self.state = fft.rfft2(np.stack(fields).astype(F32)) * self._keep

    def _advection(self, state: np.ndarray) -> np.ndarray:
        """-u . grad of vorticity and dye, in Fourier space."""
        psi = state[0] * self._inverse
        rates = [1j * self.ky * psi, -1j * self.kx * psi]
        for scalar in state:
            rates += [1j * self.kx * scalar, 1j * self.ky * scalar]
        u, v, *slopes = fft.irfft2(np.stack(rates), s=(self.n, self.n))
        flux = np.stack([u * slopes[2 * i] + v * slopes[2 * i + 1] for i in range(len(state))])
        return -fft.rfft2(flux) * self._keep

    def step(self, dt: float) -> None:
        """Advance by `dt`."""
        third = np.exp(F32(-self.viscosity * dt / 3) * self.k2)
        first = self._advection(self.state)
        second = self._advection((self.state + F32(dt / 3) * first) * third)
        last = self._advection(self.state * third**2 + F32(2 * dt / 3) * second * third)
        self.state = (self.state + F32(dt / 4) * first) * third**3 + F32(3 * dt / 4) * last * third

    def stable_step(self, courant: float = 0.9) -> float:
        """Largest time step for a Courant number."""
        u, v = self.velocity()
        return courant * 2 * np.pi / self.n / float(np.abs(u).max() + np.abs(v).max() + 1e-9)

    def vorticity(self) -> np.ndarray:
        """(n, n)."""
        return fft.irfft2(self.state[0], s=(self.n, self.n))

    def dye(self) -> np.ndarray:
        """(n, n); only where a dye was given."""
        return fft.irfft2(self.state[1], s=(self.n, self.n))

    def velocity(self) -> tuple[np.ndarray, np.ndarray]:
        """u to the right and v downwards, (n, n) each."""
        psi = self.state[0] * self._inverse
        shape = (self.n, self.n)
        return fft.irfft2(1j * self.ky * psi, s=shape), fft.irfft2(-1j * self.kx * psi, s=shape)

    def energy(self) -> float:
        """Mean kinetic energy per unit mass."""
        u, v = self.velocity()
        return 0.5 * float((u * u + v * v).mean())


def _start(class_name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float, float, float]:
    """Initial vorticity and dye, viscosity, and the times (in turn-overs) of the first and the last snapshot."""
    x, y = (axis * F32(2 * np.pi) for axis in grid(GRID))
    if class_name == "decaying_turbulence":
        peak = rng.uniform(3, 9)
        white = noise(rng, GRID, 0.0, low=peak * 0.6, high=peak * 1.3)
        dye = np.tanh(2 * noise(rng, GRID, 3.0, high=5.0))
        return white * F32(4.0), dye, rng.uniform(1.2, 2.4) * 1e-3, 0.8, 5.0
    waves = int(rng.integers(2, 5))
    ripple = sum(
        rng.normal(0, 1.0 if k == waves else 0.35) * np.sin(k * x + rng.uniform(0, 6.3))
        for k in range(1, 2 * waves + 1)
    )
    if class_name == "shear_layer":
        thick = rng.uniform(0.10, 0.17)
        shape = y + F32(0.04) * ripple
        one, two = (np.clip((shape - c * np.pi / 2) / thick, -20, 20) for c in (1, 3))
        vorticity = (1 / np.cosh(one) ** 2 - 1 / np.cosh(two) ** 2) / thick
        dye = np.tanh(one) - np.tanh(two) - 1
        return vorticity.astype(F32), dye.astype(F32), rng.uniform(1.0, 2.5) * 1e-3, 2.5, 8.0
    thick = rng.uniform(0.16, 0.26)
    away = np.clip((y - np.pi + F32(0.06) * ripple) / thick, -20, 20)
    # the Bickley jet u = sech^2(y) has w = -du/dy = 2 sech^2 tanh
    vorticity = 2 * np.tanh(away) / np.cosh(away) ** 2 / thick
    vorticity = vorticity + 0.12 * noise(rng, GRID, 2.0, low=2, high=14) / np.cosh(away)
    return vorticity.astype(F32), (1 / np.cosh(away) ** 2).astype(F32), rng.uniform(1.0, 2.5) * 1e-3, 4.0, 14.0


@lru_cache(maxsize=64)
def snapshots(class_name: str, run: int, seed: int) -> np.ndarray:
    """Snapshots of a run: (SNAPSHOTS, 4, n, n) with vorticity, u, v and dye; the same for everybody who asks.

    Args:
        class_name: "decaying_turbulence", "shear_layer" or "plane_jet".
        run: 0 to RUNS - 1.
        seed: of the collection.
    """
    rng = generator("solver", class_name, run, seed)
    vorticity, dye, viscosity, first, last = _start(class_name, rng)
    flow = Flow2D(vorticity, viscosity, dye)
    times = np.linspace(first, last, SNAPSHOTS) * rng.uniform(0.8, 1.2)
    clock, frames = 0.0, []
    for time in times:
        while clock < time:
            dt = min(flow.stable_step(), 0.1, time - clock + 1e-6)
            for _ in range(8):  # the largest velocity hardly changes within a few steps
                flow.step(dt)
                clock += dt
                if clock >= time:
                    break
        frames.append(np.stack([flow.vorticity(), *flow.velocity(), flow.dye()]))
    return np.stack(frames).astype(F32)
