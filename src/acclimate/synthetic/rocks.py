"""The fabric of eight rocks: which mineral lies where, in what shape, and which way it points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acclimate.synthetic.canvas import Canvas
from acclimate.synthetic.fields import F32, cellular, noise, rotate, smoothstep
from acclimate.synthetic.section import CODE, Section


def granite(rock: Section) -> None:
    """Interlocking quartz, alkali feldspar and plagioclase with biotite flakes."""
    rng = rock.rng
    shares = {"quartz": 0.30, "potassium_feldspar": 0.33, "plagioclase": 0.27, "biotite": 0.07, "hornblende": 0.02}
    rock.mosaic(rng.uniform(0.13, 0.30), shares, warp=rng.uniform(0.05, 0.13), spread=0.4)
    count = rock.number(3, 14)
    flakes = rock.choose(count, {"biotite": 0.8, "muscovite": 0.1, "chlorite": 0.1})
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.06, 0.2, count),
        rng.uniform(1.3, 3.5, count),
        rng.uniform(0, np.pi, count),
        flakes,
    )
    count = rock.number(2, 10)
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.01, 0.04, count),
        rng.uniform(1, 2, count),
        rng.uniform(0, np.pi, count),
        rock.choose(count, {"opaque": 0.6, "quartz": 0.4}),
        7,
    )


def gabbro(rock: Section) -> None:
    """Plagioclase laths enclosed by large pyroxene (ophitic), with olivine and ore."""
    rng = rock.rng
    rock.mosaic(
        rng.uniform(0.2, 0.4), {"augite": 0.62, "hypersthene": 0.14, "olivine": 0.12, "plagioclase": 0.12}, warp=0.06
    )
    count = rock.number(5, 14)
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.08, 0.2, count),
        rng.uniform(1, 1.6, count),
        rng.uniform(0, np.pi, count),
        rock.choose(count, {"olivine": 0.6, "augite": 0.4}),
        11,
        0.12,
    )
    count = rock.number(28, 75)
    size = rng.uniform(0.13, 0.24)
    rock.crystals(
        rock.scatter(count),
        size * rng.gamma(6, 1 / 6, count),
        rng.uniform(1.8, 4.2, count),
        rng.uniform(0, np.pi, count),
        rock.choose(count, {"plagioclase": 1.0}),
    )
    count = rock.number(2, 12)
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.02, 0.07, count),
        rng.uniform(1, 2, count),
        rng.uniform(0, np.pi, count),
        rock.choose(count, {"opaque": 0.8, "biotite": 0.2}),
        6,
        0.2,
    )


def basalt(rock: Section) -> None:
    """Plagioclase microlites in a fine groundmass, with phenocrysts and vesicles."""
    rng = rock.rng
    glassy = rng.uniform(0.1, 0.8)
    rock.mosaic(
        rng.uniform(0.014, 0.024), {"augite": 0.5, "opaque": 0.12, "glass": glassy, "plagioclase": 0.2}, jitter=1.0
    )
    count = rock.number(180, 480)
    flow = rng.uniform(0, np.pi) + rng.normal(0, rng.choice([0.25, 0.6, 3.0]), count)
    rock.crystals(
        rock.scatter(count, 0.02),
        rng.uniform(0.035, 0.07) * rng.gamma(6, 1 / 6, count),
        rng.uniform(3.5, 8, count),
        flow,
        rock.choose(count, {"plagioclase": 1.0}),
    )
    count = rng.poisson(4.0 / rock.zoom**2)
    kinds = rock.choose(count, {"olivine": 0.4, "plagioclase": 0.35, "augite": 0.25})
    laths = kinds == CODE["plagioclase"]
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.08, 0.28, count),
        np.where(laths, 2.6, 1.4) * rng.uniform(0.8, 1.3, count),
        rng.uniform(0, np.pi, count),
        kinds,
        6,
        0.05,
    )
    count = rng.poisson(rng.choice([0.0, 2.0, 7.0]) / rock.zoom**2)
    filling = rock.choose(count, {"resin": 0.7, "calcite": 0.2, "chlorite": 0.1})
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.05, 0.2, count),
        rng.uniform(1, 1.5, count),
        rng.uniform(0, np.pi, count),
        filling,
        18,
        0.08,
    )


def peridotite(rock: Section) -> None:
    """An olivine mosaic with pyroxene and spinel, serpentine along fractures."""
    rng = rock.rng
    shares = {"olivine": 0.76, "hypersthene": 0.13, "augite": 0.08, "spinel": 0.03}
    cells = rock.mosaic(rng.uniform(0.11, 0.28), shares, warp=0.05, spread=0.35)
    veins = np.abs(noise(rng, rock.n, 2.3, low=3.0))
    mesh = np.minimum(veins, 3.0 * cells.edge)
    altered = mesh < rng.uniform(0.01, 0.16) * smoothstep(-1.5, 1.0, noise(rng, rock.n, 3.0))
    index = (noise(rng, rock.n, 2.2, low=4.0) > 0).astype(np.int32)
    rock.add(index, np.array([CODE["serpentine"]] * 2), rng.uniform(0, np.pi, 2), altered)
    rock.dirt += 0.9 * (mesh < 0.008)


def marble(rock: Section) -> None:
    """A polygonal mosaic of twinned calcite with straight boundaries and triple junctions."""
    rng = rock.rng
    accessory = {"calcite": 1.0, "quartz": 0.02 * rng.random(), "muscovite": 0.02 * rng.random()}
    warp = rng.choice([0.0, 0.06, 0.12])
    stretch = rng.choice([1.0, 1.0, 1.5])
    rock.mosaic(
        rng.uniform(0.09, 0.26),
        accessory,
        warp=warp,
        jitter=0.8,
        spread=0.3,
        stretch=stretch,
        angle=rng.uniform(0, np.pi),
    )
    count = rng.poisson(3)
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.01, 0.05, count),
        rng.uniform(1, 2, count),
        rng.uniform(0, np.pi, count),
        rock.choose(count, {"opaque": 0.5, "quartz": 0.5}),
        7,
        0.1,
    )


def mica_schist(rock: Section) -> None:
    """Foliated mica and quartz, often crenulated, with garnet."""
    rng = rock.rng
    lean = rng.uniform(0, np.pi)
    x0, y0 = rock.x, rock.y
    u, v = rotate(x0, y0, lean)
    fold = rng.choice([0.0, 0.015, 0.04]) / rng.uniform(0.8, 1.5)
    wave = rng.uniform(0.25, 0.6) * rock.zoom
    swing = F32(fold * rock.zoom) * np.sin(u * F32(2 * np.pi / wave) + rng.uniform(0, 6)) + 0.02 * noise(
        rng, rock.n, 3.6
    )
    rock.x, rock.y = rotate(u, v + swing, -lean)
    rock.mosaic(
        rng.uniform(0.035, 0.07),
        {"quartz": 0.8, "plagioclase": 0.2},
        spread=0.3,
        stretch=rng.uniform(1.4, 2.6),
        angle=lean,
    )
    band = noise(rng, rock.n, 2.6, low=2.0, stretch=4.0, angle=lean)
    count = rock.number(200, 600)
    centres = rock.scatter(count, 0.05)
    cols, rows = (np.clip(centres * rock.n, 0, rock.n - 1).astype(int)).T
    centres = centres[band[rows, cols] + rng.normal(0, 0.4, count) > rng.uniform(-0.9, 0.1)]
    count = len(centres)
    along = np.cos(lean) * centres[:, 0] + np.sin(lean) * centres[:, 1]
    slope = fold * rock.zoom * 2 * np.pi / wave * np.cos(along * 2 * np.pi / wave)
    mica = {"muscovite": rng.uniform(0.2, 1), "biotite": rng.uniform(0.1, 0.9), "chlorite": 0.08}
    rock.crystals(
        centres,
        rng.uniform(0.07, 0.13) * rng.gamma(6, 1 / 6, count),
        rng.uniform(3, 8, count),
        lean - np.arctan(slope) + rng.normal(0, 0.13, count),
        rock.choose(count, mica),
        6,
        0.1,
    )
    count = rng.poisson(rng.choice([0.0, 1.5, 3.0]))
    rock.crystals(
        rock.scatter(count, 0),
        rng.uniform(0.12, 0.3, count),
        rng.uniform(1, 1.2, count),
        rng.uniform(0, np.pi, count),
        rock.choose(count, {"garnet": 1.0}),
        8,
        0.04,
    )
    count = rock.number(1, 12)
    rock.crystals(
        rock.scatter(count),
        rng.uniform(0.01, 0.04, count),
        rng.uniform(1, 3, count),
        np.full(count, lean),
        rock.choose(count, {"opaque": 1.0}),
        6,
    )
    rock.x, rock.y = x0, y0


def quartz_sandstone(rock: Section) -> None:
    """Rounded quartz grains, sorted more or less well, in pores, cement or clay."""
    rng = rock.rng
    filling = str(rng.choice(["blue_resin", "resin", "calcite", "clay", "haematite", "quartz"]))
    if filling == "calcite":
        rock.mosaic(0.3, {"calcite": 1.0}, warp=0.05)
    else:
        rock.add(np.zeros((rock.n, rock.n), np.int32), np.array([CODE[filling]]), np.array([rng.uniform(0, np.pi)]))
    spacing = rng.uniform(0.07, 0.15)
    cell = spacing * rock.zoom
    wobble = F32(rng.uniform(0.0, 0.10))
    x = rock.x / F32(cell) + wobble * noise(rng, rock.n, 3.0, low=round(0.6 / cell), high=round(2.5 / cell))
    y = rock.y / F32(cell) + wobble * noise(rng, rock.n, 3.0, low=round(0.6 / cell), high=round(2.5 / cell))
    stretch = rng.uniform(1.0, 1.35)
    x, y = rotate(x, y, rng.uniform(0, np.pi))
    cells = cellular(rng, x / F32(stretch), y, rng.uniform(0.6, 0.9), rng.uniform(0.05, 0.4))
    radius = rng.uniform(0.5, 0.72, cells.count).astype(F32)
    weight = np.sqrt(np.clip(cells.near + 0.35, 0, None)) / 1.0
    inside = (cells.edge > rng.uniform(0.015, 0.09)) & (weight < radius.take(cells.index) * 1.35)
    shares = {"quartz": 0.86, "potassium_feldspar": 0.05, "plagioclase": 0.04, "chert": 0.05, "opaque": 0.006}
    rock.add(cells.index, rock.choose(cells.count, shares), rng.uniform(0, np.pi, cells.count), inside)
    if filling == "quartz" or rng.random() < 0.5:  # dust or iron rims under the overgrowths
        rock.dirt += F32(rng.uniform(0.2, 0.9)) * (inside & (cells.edge < 0.10))


def oolitic_limestone(rock: Section) -> None:
    """Ooids with concentric laminae around a nucleus, in sparry cement or lime mud, with shell debris."""
    rng = rock.rng
    if rng.random() < 0.7:
        rock.mosaic(rng.uniform(0.02, 0.07), {"calcite": 1.0}, jitter=0.9, spread=0.3)
    else:
        rock.mosaic(0.016, {"micrite": 1.0}, jitter=1.0)
    _shells(rock, int(rng.poisson(2.0)))
    cell = rng.uniform(0.18, 0.36) * rock.zoom
    cells = cellular(rng, rock.x / F32(cell) + 0.04 * noise(rng, rock.n, 3.0, low=2), rock.y / F32(cell), 0.62, 0.12)
    keep = rng.random(cells.count) < rng.uniform(0.7, 1.0)
    radius = rng.uniform(0.38, 0.56, cells.count).astype(F32)
    aspect = rng.uniform(0.8, 1.25, cells.count).astype(F32)
    dx, dy = (
        rock.x / F32(cell) - cells.x.astype(F32).take(cells.index),
        rock.y / F32(cell) - cells.y.astype(F32).take(cells.index),
    )
    rho = np.hypot(dx * aspect.take(cells.index), dy / aspect.take(cells.index)) / radius.take(cells.index)
    rho = rho * (1 + 0.03 * noise(rng, rock.n, 2.6, low=3.0))
    inside = (rho < 1) & (cells.edge > 0.012) & keep.take(cells.index)
    core = rng.uniform(0.15, 0.6, cells.count).astype(F32).take(cells.index)
    sectors = 48  # fibres point to the centre, so that the whole ooid shows an extinction cross
    sector = np.floor((np.arctan2(dy, dx) / np.pi + 1) * sectors / 2).astype(np.int32) % sectors
    rock.add(
        sector, np.full(sectors, CODE["fibrous_carbonate"]), (np.arange(sectors) + 0.5) * 2 * np.pi / sectors, inside
    )
    nuclei = rock.choose(cells.count, {"micrite": 0.55, "quartz": 0.25, "calcite": 0.2})
    rock.add(cells.index, nuclei, rng.uniform(0, np.pi, cells.count), inside & (rho < core))
    laminae = 0.5 + 0.5 * np.sin(
        rho * F32(rng.uniform(25, 60)) + rng.uniform(0, 6, cells.count).astype(F32).take(cells.index)
    )
    brown = np.clip(0.30 + 0.6 * laminae + 0.2 * noise(rng, rock.n, 1.5, low=4.0), 0.05, 1.6) * rng.uniform(0.5, 1.4)
    coat = inside & (rho >= core)
    rock.mud += np.where(coat, brown, 0) + 0.6 * (inside & (rho > 0.93))


def _shells(rock: Section, count: int) -> None:
    """Bent shell fragments of prismatic calcite."""
    rng = rock.rng
    for _ in range(count):
        centre, radius = rng.uniform(-0.1, 1.1, 2), rng.uniform(0.15, 0.5) * rock.zoom
        start, span, thick = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.8), rng.uniform(0.02, 0.05) * rock.zoom
        t = np.linspace(start, start + span, 12)
        ring = np.stack([np.cos(t), np.sin(t)], axis=-1)
        taper = thick * np.sin(np.linspace(0.25, np.pi - 0.25, 12))[:, None]
        canvas = Canvas(rock.n, 1.0, 1)
        canvas.polygon(np.concatenate([ring * radius, (ring * (radius - taper))[::-1]]) + centre, (0.0,))
        rock.add(np.zeros((rock.n, rock.n), np.int32), np.array([CODE["calcite"]]), np.array([start]), canvas.ids() > 0)


ROCKS: dict[str, Callable[[Section], None]] = {
    "basalt": basalt,
    "gabbro": gabbro,
    "granite": granite,
    "marble": marble,
    "mica_schist": mica_schist,
    "oolitic_limestone": oolitic_limestone,
    "peridotite": peridotite,
    "quartz_sandstone": quartz_sandstone,
}
