"""The scenes of the satellite domain: open land here, settlements in `settlements`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from acclimate.synthetic.canvas import Canvas, ellipses
from acclimate.synthetic.fields import F32, blur, mix, noise, rotate, smoothstep
from acclimate.synthetic.land import BARE_SEASON, COVER, GREEN_SEASON, ROOFS, Land, parcels, road
from acclimate.synthetic.settlements import harbour, industrial_area, residential_area


def farmland(land: Land) -> None:
    """Field parcels with tillage rows, hedges, tracks, a farmstead or pivot irrigation."""
    rng = land.rng
    land.open(rng.uniform(450, 1100))
    land.cover("dry_grass" if rng.random() < 0.4 else "grass")
    kinds = BARE_SEASON if land.winter else tuple(rng.choice(GREEN_SEASON, 5, replace=False))
    boxes = parcels(land, land.extent * rng.uniform(0.09, 0.3), kinds)
    if rng.random() < 0.25 and not land.winter:
        for _ in range(rng.integers(1, 5)):
            circle = ellipses(
                rng.uniform(-0.4, 0.4, (1, 2)) * land.extent,
                np.array([land.extent * rng.uniform(0.1, 0.2)]),
                np.ones(1),
                np.zeros(1),
                vertices=40,
            )[0]
            land.slab(circle, land.spectrum(str(rng.choice(GREEN_SEASON)), 0.2))
        land.draw()
        land.reflectance *= land.texture(2.0, 0.06)[..., None]
    for _ in range(rng.integers(0, 3)):
        road(land, rng.uniform(4, 8), str(rng.choice(["asphalt", "gravel", "soil"])), 0.02)
    if rng.random() < 0.5:
        u, v = rng.uniform(-0.3, 0.3, 2) * land.extent
        for _ in range(rng.integers(2, 7)):
            du, dv = rng.normal(0, 28, 2)
            land.gable(
                u + du,
                v + dv,
                rng.uniform(14, 45),
                rng.uniform(10, 18),
                rng.choice([0, np.pi / 2]),
                land.spectrum(str(rng.choice(ROOFS))),
            )
    land.draw()
    hedge = np.zeros((land.n, land.n), F32)
    if rng.random() < 0.7:
        canvas = Canvas(land.n, land.extent, 1)
        for u0, v0, u1, v1 in boxes:
            if rng.random() < 0.4:
                canvas.line(land.at(np.array([u0, u1, u1]), np.array([v0, v0, v1])), 7.0, (1.0,))
        hedge = (canvas.ids() > 0) * F32(0.85)
    copse = smoothstep(rng.uniform(1.2, 2.2), 2.4, noise(rng, land.n, 3.6))
    land.trees(np.maximum(hedge, copse), max(8.0, 2.6 * land.pixel), 0.25)


def forest(land: Land) -> None:
    """A closed canopy of crowns in patches of species, with clearings and tracks."""
    rng = land.rng
    land.open(rng.uniform(170, 480))
    land.cover("grass" if rng.random() < 0.6 else "soil", texture=0.3)
    if rng.random() < 0.25:
        parcels(land, land.extent * 0.35, ("grass", "dry_grass", "stubble", "green_crop", "soil"))
    if rng.random() < 0.55:
        road(land, rng.uniform(3, 8), str(rng.choice(["soil", "gravel", "asphalt"])))
        land.draw()
    tracks = (land.reflectance[..., 3] < 1.6 * land.reflectance[..., 2]) if rng.random() < 0.7 else False
    gaps = smoothstep(rng.uniform(0.6, 2.4), 2.6, noise(rng, land.n, 3.4, low=1.0))
    land.relief = land.relief + noise(rng, land.n, 3.6) * F32(land.extent * 0.02)
    density = np.clip(rng.uniform(0.75, 1.0) - gaps, 0, 1) * np.where(tracks, 0.05, 1.0)
    crown = max(rng.uniform(5.5, 11.0), 2.6 * land.pixel)
    species = noise(rng, land.n, 3.0) + rng.uniform(-1.2, 1.2)
    land.trees(density * (species < 0.3), crown, 0.08)
    land.trees(density * (species > 0.1), crown * rng.uniform(0.6, 0.85), 0.95, 2.2)


def sine_generated(rng: np.random.Generator, length: float, width: float) -> np.ndarray:
    """A meandering centre line, (k, 2): the sine-generated curve of Langbein and Leopold (1966)."""
    wave = width * rng.uniform(9, 14)
    s = np.linspace(-1.6, 1.6, 260) * length
    swing = rng.uniform(0.2, 1.5)
    drift = rng.normal(0, 0.25) * np.sin(s / length * 3 + rng.uniform(0, 6))
    heading = swing * np.sin(2 * np.pi * s / wave + rng.uniform(0, 6)) * (1 + 0.25 * np.sin(s / wave * 1.7)) + drift
    step = s[1] - s[0]
    line = np.stack([np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))], axis=-1) * step
    return (line - line.mean(axis=0) + rng.normal(0, 0.1 * length, 2)).astype(F32)


def river(land: Land) -> None:
    """A meandering river with point bars and a wooded or farmed flood plain."""
    rng = land.rng
    land.open(rng.uniform(500, 1300))
    land.cover("grass" if rng.random() < 0.7 else "dry_grass", texture=0.25)
    if rng.random() < 0.65:
        parcels(land, land.extent * rng.uniform(0.12, 0.3), BARE_SEASON if land.winter else GREEN_SEASON)
    width = land.extent * rng.uniform(0.03, 0.13)
    line = sine_generated(rng, land.extent, width)
    points = land.at(line[:, 0], line[:, 1])
    canvas = Canvas(land.n, land.extent, 1)
    canvas.line(points, width, (1.0,))
    inside = canvas.ids() > 0
    away = ndimage.distance_transform_edt(~inside).astype(F32) * F32(land.pixel)
    deep = ndimage.distance_transform_edt(inside).astype(F32) * F32(land.pixel)
    ragged = noise(rng, land.n, 2.6) * F32(0.12 * width)
    bar = smoothstep(0.3, 1.0, noise(rng, land.n, 3.2, low=1.5)) * ((away + ragged) < 0.28 * width)
    land.cover(str(rng.choice(["sand", "gravel"])), bar, 0.12)
    muddy = rng.random()
    water = land.spectrum("water") * (1 - muddy) + land.spectrum("turbid_water") * muddy
    water = water * (1 + 0.5 * muddy * np.exp(-deep / F32(0.15 * width)))[..., None]
    wet = smoothstep(-0.5 * land.pixel, 0.5 * land.pixel, deep - away + ragged * 0.6)
    land.reflectance = mix(land.reflectance, water * land.texture(1.5, 0.05)[..., None], wet)
    wooded = np.exp(-np.clip(away - 0.1 * width, 0, None) / F32(width * rng.uniform(0.1, 0.9))) * rng.uniform(0, 0.9)
    copse = smoothstep(rng.uniform(0.2, 2.2), 2.4, noise(rng, land.n, 3.4))
    land.trees(np.clip(np.maximum(wooded, copse) - bar, 0, 1) * (wet < 0.2), max(9.0, 2.4 * land.pixel), 0.2)
    if rng.random() < 0.35:
        road(land, rng.uniform(8, 14), "concrete", 0.01)


def desert_dunes(land: Land) -> None:
    """Dunes with a gentle stoss side and a slip face at the angle of repose, between gravel flats."""
    rng = land.rng
    land.open(rng.uniform(500, 2200))
    sand = "sand" if rng.random() < 0.5 else "red_sand"
    land.cover(sand, texture=0.06)
    u, v = rotate(land.x, land.y, land.angle)
    wave = land.extent / rng.uniform(3, 9)
    warp = noise(rng, land.n, 3.6, high=4.0) * F32(rng.uniform(0.3, 1.1)) + noise(
        rng, land.n, 3.2, low=3.0, high=14.0
    ) * F32(0.06)
    phase = (u / F32(wave) + warp) % 1.0
    stoss = rng.uniform(0.68, 0.8)
    profile = np.where(phase < stoss, smoothstep(0, 1, phase / stoss), 1 - (phase - stoss) / (1 - stoss))
    size = smoothstep(-1.5, 0.8, noise(rng, land.n, 3.2, low=1.0, high=5.0) + rng.uniform(-0.3, 1.2))
    if rng.random() < 0.3:  # star dunes: a second wind
        other = (v / F32(wave * 1.3) + 0.8 * warp + 0.3 * noise(rng, land.n, 3.4, high=5.0)) % 1.0
        profile = np.maximum(profile, 1 - np.abs(2 * other - 1))
    slip = np.tan(np.radians(32)) * wave * (1 - stoss)  # height at which the lee side rests at 32 degrees
    land.relief = blur(profile * size, 0.8) * F32(slip * rng.uniform(0.6, 1.0))
    ripple = np.sin((u + F32(0.1 * wave) * warp) * F32(2 * np.pi / max(12, 3.2 * land.pixel)))
    land.relief = land.relief + ripple * F32(0.02 * max(12, 3.2 * land.pixel))
    land.cover(
        str(rng.choice(["gravel", "soil", sand])), smoothstep(0.35, 0.1, profile * size) * rng.uniform(0.1, 0.8), 0.1
    )
    if rng.random() < 0.4:
        shrubs = smoothstep(0.5, 2.0, noise(rng, land.n, 2.5)) * (profile * size < 0.4)
        land.trees(shrubs * F32(0.5), max(6.0, 2.2 * land.pixel), 0.5, 0.4)


def mountain(land: Land) -> None:
    """Ridges and valleys with rock, meadow, forest and snow by height and slope."""
    rng = land.rng
    land.open(rng.uniform(2500, 8000))
    u, _ = rotate(land.x, land.y, land.angle)
    bend = F32(0.10 * land.extent) * noise(rng, land.n, 4.0, high=6.0)
    pitch = land.extent / rng.uniform(1.5, 4.0)
    crest = 1 - np.abs(2 * (((u + bend) / F32(pitch) + 0.3 * noise(rng, land.n, 4.0, high=8.0)) % 1.0) - 1)
    spurs = 1 - np.abs(noise(rng, land.n, 3.6, low=2.5, high=24.0))
    broad = noise(rng, land.n, 4.2, low=0.7, high=6.0)
    height = 0.45 * broad + 1.5 * crest + (0.15 + 0.35 * crest) * spurs + noise(rng, land.n, 3.0, low=8.0) * F32(0.06)
    height = height + F32(rng.normal(0, 0.5)) * (u - u.mean()) / F32(land.extent)
    height = (height - height.mean()) / height.std()
    land.relief = height * F32(pitch * rng.uniform(0.09, 0.16))
    slope = np.hypot(*np.gradient(land.relief, land.pixel))
    green, white = rng.uniform(-1.0, 1.2), rng.uniform(0.4, 2.6) - (1.2 if land.winter else 0.0)
    land.cover("rock", texture=0.2, beta=1.6)
    ragged = height + 0.35 * noise(rng, land.n, 2.2)
    land.cover("grass" if rng.random() < 0.6 else "dry_grass", smoothstep(green + 0.3, green - 0.3, ragged), 0.18)
    wood = smoothstep(green - 0.3, green - 0.8, ragged) * smoothstep(1.2, 0.5, slope)
    land.cover("conifer", wood * rng.uniform(0.3, 1.0), 0.3, 0.8)
    lies = smoothstep(white - 0.2, white + 0.4, ragged) * smoothstep(1.1, 0.6, slope)
    land.reflectance = mix(land.reflectance, np.array(COVER["snow"], F32), lies * F32(0.95))


SCENES: dict[str, Callable[[Land], None]] = {
    "desert_dunes": desert_dunes,
    "farmland": farmland,
    "forest": forest,
    "harbour": harbour,
    "industrial_area": industrial_area,
    "mountain": mountain,
    "residential_area": residential_area,
    "river": river,
}
