"""The physics behind the images, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.synthetic.canvas import ellipses
from acclimate.synthetic.fields import cellular, generator, grid, noise
from acclimate.synthetic.flow_fields import lamb_oseen
from acclimate.synthetic.microscopy import EOSIN, HAEMATOXYLIN, absorb
from acclimate.synthetic.sar import Ground, focus, project, taylor_window
from acclimate.synthetic.satellite import cast_shadows
from acclimate.synthetic.solver import Flow2D, snapshots
from acclimate.synthetic.spectra import interference_colour, to_rgb


@pytest.mark.parametrize("looks", [1, 4, 9])
def test_speckle_of_a_homogeneous_area(looks):
    image = focus(generator("speckle", looks), np.full((192, 192), 3.0, np.float32), np.zeros((192, 192)), 0.7, looks)
    assert image.mean() == pytest.approx(3.0, rel=0.03)
    assert image.std() / image.mean() == pytest.approx(1 / np.sqrt(looks), rel=0.06)


def test_point_response_has_low_sidelobes():
    points = np.zeros((256, 256))
    points[128, 128] = 100.0
    image = focus(generator("point"), np.zeros((256, 256), np.float32), points, 0.5)
    line = image[128] / image.max()
    assert line.argmax() == 128
    assert 10 * np.log10(line[140:].max()) < -31  # designed for -32 dB
    assert (taylor_window(64, 0.5) > 0).sum() == 33


def test_layover_and_shadow_lengths():
    n, pixel, incidence, high = 128, 0.5, np.radians(40), 8.0
    height = np.zeros((n, n), np.float32)
    height[60:64, 40:90] = high
    power = np.stack([np.zeros((n, n)), np.zeros((n, n)), np.ones((n, n))]).astype(np.float32)
    image, past = project(Ground(height, power), pixel, incidence, 1.0)
    column = image.sum(axis=0)[:, 64]
    dark = np.flatnonzero(column[64:] < 1e-6)
    assert len(dark) * pixel == pytest.approx(high * np.tan(incidence), abs=1.5)
    bright = np.flatnonzero(column > 1.01)
    assert (60 - bright.min()) * pixel == pytest.approx(high / np.tan(incidence), abs=1.5)
    assert past[100, 10] < 0 < past[67, 64] < high


def test_sun_shadow_length():
    height = np.zeros((128, 128), np.float32)
    height[:, 100:104] = 20.0
    lit = cast_shadows(height, 1.0, np.radians(30), 0.0)  # the sun stands to the right
    assert (lit[64, :100] < 0.5).sum() == pytest.approx(20 / np.tan(np.radians(30)), abs=2)
    assert lit[64, 110:].min() == 1.0


def test_lamb_oseen_circulation_and_vorticity():
    t = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    for radius in (0.05, 0.3):
        _, u, v = lamb_oseen(radius * np.cos(t), radius * np.sin(t), 2.0, 0.1)
        circulation = (-u * np.sin(t) + v * np.cos(t)).mean() * 2 * np.pi * radius
        assert circulation == pytest.approx(2.0 * (1 - np.exp(-((radius / 0.1) ** 2))), rel=1e-4)
    x, y = grid(400)
    vorticity, _, _ = lamb_oseen(x - 0.5, y - 0.5, 2.0, 0.1)
    assert vorticity.mean() == pytest.approx(2.0, rel=1e-3)


def test_michel_levy_chart():
    def colour(retardation: float, angle: float = np.pi / 4, plate: float = 0.0) -> np.ndarray:
        return interference_colour(np.array([retardation]), np.array([angle]), plate=plate)[0]

    assert colour(0.0).max() < 1e-6  # isotropic: black
    assert colour(300.0, angle=0.0).max() < 1e-6  # in extinction
    grey = colour(120.0)
    assert grey[0] < grey[1] < grey[2] < 2 * grey[0]  # the bluish grey of quartz
    yellow = colour(330.0)
    assert yellow[0] > 0.7
    assert yellow[2] < 0.6 * yellow[1]
    red = colour(536.0)
    assert red[0] > 3 * red[1]
    blue = colour(656.0)
    assert blue[2] > 2 * blue[0]
    white = colour(6000.0)
    assert np.ptp(white) < 0.12
    assert white.mean() == pytest.approx(0.5, abs=0.08)
    assert colour(0.0, plate=530.0)[0] > 2 * colour(0.0, plate=530.0)[1]  # the plate alone: first-order red


def test_clear_field_is_white():
    assert to_rgb(np.ones(69)) == pytest.approx(np.ones(3))
    warm = to_rgb(np.ones(69), kelvin=3000.0, adaptation=0.3)
    assert warm[0] > warm[1] > warm[2]


def test_beer_lambert_adds_densities():
    vectors = np.array([HAEMATOXYLIN, EOSIN], np.float32)
    one, other = np.array([0.8, 0.0], np.float32), np.array([0.3, 0.5], np.float32)
    both = absorb(one + other, vectors)
    assert both == pytest.approx(absorb(one, vectors) * absorb(other, vectors), rel=1e-5)
    assert absorb(np.zeros(2, np.float32), vectors) == pytest.approx(np.ones(3))
    assert -np.log10(absorb(np.array([1.0, 0.0], np.float32), vectors)) == pytest.approx(HAEMATOXYLIN, rel=1e-4)


def test_solver_decays_as_taylor_green():
    x, y = (axis * 2 * np.pi for axis in grid(48))
    flow = Flow2D(2 * np.cos(x) * np.cos(y), viscosity=0.02, dye=np.sin(x))
    before = flow.energy()
    for _ in range(50):
        flow.step(0.02)
    assert flow.energy() / before == pytest.approx(np.exp(-4 * 0.02 * 1.0), rel=1e-3)  # exp(-2 nu k^2 t), k^2 = 2
    assert flow.vorticity() == pytest.approx(2 * np.cos(x) * np.cos(y) * np.exp(-0.04), abs=2e-3)


def test_solver_loses_energy_and_keeps_the_mean():
    rng = generator("solver test")
    flow = Flow2D(4 * noise(rng, 48, 1.0, low=3, high=8) + 5, viscosity=2e-3)
    energies = [flow.energy()]
    for _ in range(40):
        flow.step(flow.stable_step())
        energies.append(flow.energy())
    assert np.all(np.diff(energies) < 0)
    assert abs(flow.vorticity().mean()) < 1e-5
    u, v = flow.velocity()
    spectrum_x, spectrum_y = np.fft.fftfreq(48)[None, :] * 48, np.fft.fftfreq(48)[:, None] * 48
    divergence = np.fft.ifft2(1j * spectrum_x * np.fft.fft2(u) + 1j * spectrum_y * np.fft.fft2(v)).real
    assert np.abs(divergence).max() < 1e-3


def test_snapshots_are_finite_and_differ():
    frames = snapshots("plane_jet", 0, 0)
    assert np.isfinite(frames).all()
    assert np.abs(frames[0] - frames[-1]).max() > 0.1


def test_noise_has_unit_variance_and_its_slope():
    fields = np.stack([noise(generator("slope", i), 128, 3.0) for i in range(24)])
    assert fields.var() == pytest.approx(1.0, rel=0.35)
    power = (np.abs(np.fft.fft2(fields)) ** 2).mean(axis=0)
    assert np.log2(power[0, 4] / power[0, 16]) / 2 == pytest.approx(3.0, abs=0.6)


def test_power_diagram_belongs_to_the_nearest_seed():
    x, y = grid(64)
    cells = cellular(generator("cells"), x * 6, y * 6, jitter=0.8)
    distance = (x[..., None] * 6 - cells.x) ** 2 + (y[..., None] * 6 - cells.y) ** 2
    assert (distance.argmin(axis=-1) == cells.index).mean() > 0.995
    assert cells.edge.min() >= 0


def test_ellipses_keep_their_area():
    shape = ellipses(np.zeros((1, 2)), np.array([2.0]), np.array([3.0]), np.array([0.4]), vertices=200)[0]
    x, y = shape.T
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert area == pytest.approx(np.pi * 4, rel=1e-2)
