"""Tissue architecture: where cells, nuclei, fibres and spaces lie in eight tissues. Lengths in micrometres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from acclimate.synthetic.fields import F32, cellular, rotate, smoothstep
from acclimate.synthetic.slide import Slide


def adipose_tissue(slide: Slide) -> None:
    """Large empty fat cells with thin walls and flattened nuclei, with septa and vessels."""
    rng = slide.rng
    size = rng.uniform(38, 78)
    warp = 0.07
    x = slide.x / F32(size) + F32(warp) * slide.field(3.4, 100.0)
    y = slide.y / F32(size) + F32(warp) * slide.field(3.4, 100.0)
    cells = cellular(rng, x, y, 0.75, 0.25)
    wall = rng.uniform(0.012, 0.035)
    edge = np.exp(-((cells.edge / F32(wall)) ** 2))
    slide.eosin = edge * rng.uniform(0.6, 1.1) + 0.03
    septum = smoothstep(rng.uniform(0.9, 2.4), 2.5, slide.field(3.6, 200.0))
    slide.eosin = slide.eosin * (1 - septum) + septum * slide.fibres(0.75, 0.2)
    near = edge * 0.10 + septum * 0.2
    slide.nuclei(slide.sites(9, 0.9, near), 2.4, 2.2, amount=0.9, open_chromatin=0.2)
    if rng.random() < 0.4:
        slide.vessel()
    if rng.random() < 0.3:  # inflammatory infiltrate along the septa
        slide.nuclei(
            slide.sites(8, 0.9, smoothstep(0.8, 1.8, slide.field(3.2, 90.0)) * edge),
            2.9,
            amount=1.1,
            open_chromatin=0.1,
        )


def fibrous_stroma(slide: Slide) -> None:
    """Wavy collagen with sparse spindle nuclei, clefts, vessels and stray lymphocytes."""
    rng = slide.rng
    slide.eosin = slide.fibres(
        rng.uniform(0.45, 0.8), rng.uniform(0.14, 0.26), rng.uniform(4, 9) // 1, rng.uniform(0.4, 1.6)
    )
    cleft = smoothstep(rng.uniform(1.1, 1.9), 2.2, slide.field(2.6, 60.0, stretch=6.0, angle=slide.angle))
    slide.eosin = slide.eosin * (1 - 0.9 * cleft)
    centres = slide.sites(rng.uniform(13, 24), 1.0, 0.75)
    slide.nuclei(
        centres,
        rng.uniform(2.3, 3.1),
        rng.uniform(2.6, 4.5),
        slide.angle + rng.normal(0, 0.35, len(centres)),
        amount=0.95,
    )
    slide.nuclei(
        slide.sites(9, 0.9, rng.uniform(0, 0.35) * smoothstep(0.3, 1.6, slide.field(3.2, 90.0))),
        2.9,
        open_chromatin=0.1,
    )
    for _ in range(rng.integers(0, 3)):
        slide.vessel()


def smooth_muscle(slide: Slide) -> None:
    """Fascicles of parallel fibres with cigar-shaped nuclei, some of them cut across."""
    rng = slide.rng
    split = slide.field(3.8, 220.0) + rng.normal(0, 0.8)
    lengthwise = split > -0.5
    slide.eosin = slide.fibres(
        rng.uniform(0.75, 1.05), rng.uniform(0.08, 0.16), rng.uniform(7, 14) // 1, rng.uniform(0, 0.35)
    )
    size = rng.uniform(5.5, 8)
    across = cellular(rng, slide.x / F32(size), slide.y / F32(size), 0.8, 0.2)
    slide.eosin = np.where(lengthwise, slide.eosin, 0.95 - 0.6 * np.exp(-((across.edge / F32(0.09)) ** 2)))
    gap = np.exp(-(((split + 0.5) / F32(0.06)) ** 2))
    gap = np.maximum(gap, smoothstep(1.7, 2.2, slide.field(2.8, 90.0, stretch=8.0, angle=slide.angle)))
    slide.eosin = slide.eosin * (1 - 0.8 * gap)
    centres = slide.sites(rng.uniform(11, 17), 1.0, lengthwise * 0.8)
    slide.nuclei(
        centres,
        rng.uniform(2.7, 3.4),
        rng.uniform(3.5, 6.0),
        slide.angle + rng.normal(0, 0.12, len(centres)),
        rough=0.02,
        amount=0.85,
    )
    slide.nuclei(slide.sites(size * 1.7, 0.6, ~lengthwise * 0.6), 2.0, 1.2, amount=0.85)
    if rng.random() < 0.4:
        slide.vessel()


def lymphoid_aggregate(slide: Slide) -> None:
    """Closely packed small round nuclei, sometimes with the pale germinal centre of a follicle."""
    rng = slide.rng
    edge = slide.field(3.6, 250.0) + rng.uniform(0.2, 2.0)
    dense = smoothstep(-0.4, 0.4, edge)
    slide.eosin = dense * (0.28 + 0.08 * slide.field(1.5, 20.0)) + (1 - dense) * slide.fibres(0.55, 0.18)
    slide.nuclear = dense * F32(0.10)
    pale = np.zeros_like(dense)
    if rng.random() < 0.5:
        centre, radius = rng.uniform(0.1, 0.9, 2) * slide.extent, rng.uniform(35, 75)
        pale = smoothstep(
            radius + 6, radius - 6, np.hypot(slide.x - centre[0], slide.y - centre[1]) + 4 * slide.field(3.0, 90.0)
        )
    slide.nuclei(slide.sites(9.0, 0.7, dense * pale * 0.85), 3.6, 1.25, vary=0.2, amount=0.7, open_chromatin=0.9)
    slide.nuclei(
        slide.sites(rng.uniform(6.4, 7.6), 0.55, dense * (1 - 0.85 * pale) * rng.uniform(0.85, 1.0)),
        2.75,
        1.1,
        vary=0.09,
        amount=1.1,
        open_chromatin=0.2,
    )
    loose = slide.sites(15, 1.0, (1 - dense) * 0.7)
    slide.nuclei(loose, 2.5, 3.0, slide.angle + rng.normal(0, 0.4, len(loose)))
    if rng.random() < 0.4:
        slide.vessel()


def glandular_mucosa(slide: Slide) -> None:
    """Crypts in cross-section: lumen, mucus, basal nuclei; lamina propria with lymphocytes and plasma cells between."""
    rng = slide.rng
    slide.eosin = slide.fibres(0.45, 0.16, 3.0)
    pitch, ring = rng.uniform(55, 90), []
    lean, aspect = rng.uniform(0, np.pi), rng.uniform(1.0, 1.7)
    mucus = rng.uniform(0.2, 0.9)
    taken = np.zeros((slide.n, slide.n), F32)
    for centre in slide.sites(pitch, 0.35, 0.95):
        radius, turned = pitch * rng.uniform(0.34, 0.44), lean + rng.normal(0, 0.25)
        if np.any(centre < -radius * 1.4) or np.any(centre > slide.extent + radius * 1.4):
            continue
        dx, dy = rotate(slide.x - F32(centre[0]), slide.y - F32(centre[1]), turned)
        wobble = 1 + 0.06 * np.sin(3 * np.arctan2(dy, dx) + rng.uniform(0, 6))
        root = aspect**0.5
        rho = np.hypot(dx / F32(root), dy * F32(root)) * wobble / F32(radius)
        wall = smoothstep(1.03, 0.97, rho)
        lumen = rng.uniform(0.08, 0.42)
        tall = np.clip((rho - lumen) / (1 - lumen), 0, 1)
        vacuole = smoothstep(0.1, 0.7, slide.field(1.2, 9.0)) * smoothstep(0.75, 0.5, tall) * mucus
        body = (0.55 + 0.2 * tall) * (1 - 0.85 * vacuole)
        body = np.where(rho < lumen, 0.05 + 0.25 * (rng.random() < 0.3), body)
        slide.eosin = slide.eosin * (1 - wall) + wall * body
        slide.nuclear = slide.nuclear * (1 - wall) + wall * (0.10 + 0.14 * vacuole) * (rho > lumen)
        taken = np.maximum(taken, smoothstep(1.12, 1.02, rho))
        count = int(2 * np.pi * radius / rng.uniform(4.6, 6.2))
        t = np.arange(count) * 2 * np.pi / count + rng.normal(0, 0.04, count)
        deep = rng.uniform(0.74, 0.9, count) * radius
        spot = np.stack([np.cos(t) * deep * root, np.sin(t) * deep / root], axis=-1)
        c, s = np.cos(turned), np.sin(turned)
        ring.append((spot @ np.array([[c, s], [-s, c]]) + centre, np.arctan2(spot[:, 1], spot[:, 0]) + turned))
    for centres, outward in ring:
        slide.nuclei(
            centres,
            rng.uniform(2.7, 3.3),
            1.6,
            outward + rng.normal(0, 0.15, len(outward)),
            amount=0.95,
            open_chromatin=0.5,
        )
    slide.nuclei(slide.sites(8, 0.9, (1 - taken) * rng.uniform(0.25, 0.85)), 2.6, 1.25, amount=1.1, open_chromatin=0.2)


def tumour_nests(slide: Slide) -> None:
    """Nests or sheets of crowded, pleomorphic nuclei with mitoses in a desmoplastic stroma."""
    rng = slide.rng
    nest = smoothstep(-0.12, 0.12, slide.field(3.4, 130.0, high=slide.extent / 14) + rng.uniform(-0.4, 1.6))
    stroma = slide.fibres(0.55, 0.2, 6.0, 0.8)
    size = rng.uniform(9, 13)
    border = cellular(rng, slide.x / F32(size), slide.y / F32(size), 0.9, 0.3)
    body = 0.5 + 0.1 * slide.field(1.4, 20.0) - 0.15 * np.exp(-((border.edge / F32(0.06)) ** 2))
    slide.eosin = nest * body + (1 - nest) * stroma
    slide.nuclear = nest * F32(rng.uniform(0.10, 0.25))
    centres = slide.sites(size, 0.75, nest * rng.uniform(0.75, 1.0))
    slide.nuclei(
        centres,
        rng.uniform(3.6, 4.9),
        1.35,
        vary=rng.uniform(0.15, 0.32),
        rough=0.12,
        amount=rng.uniform(0.8, 1.1),
        open_chromatin=rng.uniform(0.3, 1.0),
    )
    slide.nuclei(slide.sites(45, 1.0, nest * 0.5), 2.6, 2.4, rough=0.25, amount=1.7, open_chromatin=0.0)
    loose = slide.sites(14, 1.0, (1 - nest) * 0.8)
    slide.nuclei(loose, 2.5, 3.0, slide.angle + rng.normal(0, 0.4, len(loose)))
    slide.nuclei(slide.sites(8, 0.9, (1 - nest) * rng.uniform(0, 0.4)), 2.8, amount=1.1, open_chromatin=0.1)
    if rng.random() < 0.2:  # a gland-like space
        hole = smoothstep(1.7, 2.0, slide.field(3.2, 50.0))
        slide.eosin, slide.nuclear = slide.eosin * (1 - hole), slide.nuclear * (1 - hole)


def necrosis(slide: Slide) -> None:
    """Granular eosinophilic debris with ghosts of cells, nuclear dust and shrunken nuclei."""
    rng = slide.rng
    debris = 0.55 + 0.16 * slide.field(1.0, 15.0) + 0.12 * slide.field(3.0, 80.0)
    holes = smoothstep(rng.uniform(1.0, 1.9), 2.2, slide.field(2.2, 25.0))
    slide.eosin = np.clip(debris, 0.05, None) * (1 - 0.9 * holes)
    size = rng.uniform(10, 14)
    ghosts = cellular(rng, slide.x / F32(size), slide.y / F32(size), 0.9, 0.3)
    slide.eosin = slide.eosin * (1 - rng.uniform(0, 0.35) * np.exp(-((ghosts.edge / F32(0.07)) ** 2)))
    slide.nuclear = np.clip(rng.uniform(0.02, 0.14) + 0.06 * slide.field(2.0, 30.0), 0, None)
    patch = smoothstep(-0.8, 1.2, slide.field(3.2, 120.0))
    slide.nuclei(
        slide.sites(6.5, 1.0, patch * rng.uniform(0.1, 0.6)),
        rng.uniform(0.8, 1.3),
        1.2,
        vary=0.4,
        rough=0.15,
        amount=1.2,
        open_chromatin=0.0,
    )
    slide.nuclei(
        slide.sites(13, 1.0, rng.uniform(0.05, 0.5)), 2.2, 1.3, vary=0.25, rough=0.2, amount=1.25, open_chromatin=0.0
    )
    slide.nuclei(slide.sites(14, 0.9, rng.uniform(0.0, 0.6)), 3.6, 1.25, amount=0.32, open_chromatin=0.5)
    slide.cells(slide.sites(16, 1.0, patch * rng.uniform(0, 0.4)), 3.1, 0.7)
    if rng.random() < 0.35:  # living cells at one side
        alive = smoothstep(0.7, 1.1, slide.field(3.8, 250.0))
        slide.nuclei(slide.sites(11, 0.8, alive * 0.9), 4.0, 1.3, vary=0.2, rough=0.1, open_chromatin=0.6)


def squamous_epithelium(slide: Slide) -> None:
    """Layers from crowded basal cells to flat, eosinophilic ones at the surface, on a stroma with papillae."""
    rng = slide.rng
    along, depth = rotate(slide.x - F32(slide.extent / 2), slide.y - F32(slide.extent / 2), slide.angle)
    bump = rng.uniform(0, 14) * np.sin(
        along * F32(2 * np.pi / rng.uniform(70, 140)) + rng.uniform(0, 6)
    ) + 5 * slide.field(3.6, 120.0)
    basal = rng.uniform(-0.1, 0.55) * slide.extent
    thick = rng.uniform(80, 190)
    height = (F32(basal) + bump - depth) / F32(thick)  # 0 at the basement membrane, 1 at the surface
    inside = smoothstep(-0.01, 0.01, height) * smoothstep(1.05, 1.0, height + 0.03 * slide.field(2.5, 40.0))
    rise = np.clip(height, 0, 1)
    size = rng.uniform(11, 15)
    flat = 1 + 2.2 * rise**2
    cells = cellular(
        rng, along / F32(size) / np.sqrt(flat), (F32(basal) + bump - depth) / F32(size) * np.sqrt(flat), 0.8, 0.2
    )
    bridge = np.exp(-((cells.edge / F32(0.06)) ** 2))
    keratin = rng.uniform(0.2, 1.0) * smoothstep(0.6, 1.0, rise)
    body = (0.42 + 0.2 * rise + 0.45 * keratin) * (1 - 0.5 * bridge * (1 - keratin)) + 0.25 * bridge * keratin
    clear = rng.uniform(0, 0.5) * smoothstep(0.2, 0.5, rise) * smoothstep(0.9, 0.6, rise)
    body = body * (1 - clear * (1 - bridge))
    below = height < 0
    slide.eosin = inside * body + (1 - inside) * np.where(below, slide.fibres(0.55, 0.18, 6.0, 0.7), 0.02)
    slide.nuclear = inside * 0.16 * (1 - rise) ** 2
    first = smoothstep(0.14, 0.10, rise) * inside
    basal_cells = slide.sites(6.2, 0.5, first * 0.95)
    slide.nuclei(
        basal_cells,
        2.9,
        1.5,
        slide.angle + np.pi / 2 + rng.normal(0, 0.25, len(basal_cells)),
        amount=1.1,
        open_chromatin=0.3,
    )
    upper = slide.sites(size * 0.95, 0.6, inside * (rise > 0.11) * (1 - 0.9 * keratin) * 0.9)
    lift = np.clip(slide.at(rise, upper), 0, 1)
    for low, high, ratio, radius in ((0.0, 0.5, 1.25, 3.5), (0.5, 0.8, 1.8, 3.0), (0.8, 1.1, 3.2, 2.3)):
        chosen = upper[(lift >= low) & (lift < high)]
        slide.nuclei(
            chosen,
            radius,
            ratio,
            slide.angle + rng.normal(0, 0.2, len(chosen)),
            amount=0.85,
            open_chromatin=0.7 - 0.5 * low,
        )
    loose = slide.sites(13, 1.0, below * 0.7)
    slide.nuclei(loose, 2.5, 2.6, slide.angle + rng.normal(0, 0.5, len(loose)))
    slide.nuclei(slide.sites(8, 0.9, below * rng.uniform(0, 0.4)), 2.8, amount=1.1, open_chromatin=0.1)


TISSUES: dict[str, Callable[[Slide], None]] = {
    "adipose_tissue": adipose_tissue,
    "fibrous_stroma": fibrous_stroma,
    "glandular_mucosa": glandular_mucosa,
    "lymphoid_aggregate": lymphoid_aggregate,
    "necrosis": necrosis,
    "smooth_muscle": smooth_muscle,
    "squamous_epithelium": squamous_epithelium,
    "tumour_nests": tumour_nests,
}
