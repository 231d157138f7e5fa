"""The map of a test: images in the plane, by what differs most and by their neighbours, with some of them drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.reports import charts
from acclimate.reports.features import Features, neighbour_plane, principal_plane
from acclimate.reports.pictures import SMALL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.reports.pictures import Thumbnail

FEWEST = 4  # images that a map needs
WIDTH, HEIGHT, SIDE = 460, 340, 34  # of the map with images, and of an image in it

Row = Mapping[str, Any]


def describe_plane(looked: Features, rows: Sequence[Row], thumbnail: Thumbnail) -> dict[str, Any] | None:
    """Return two maps of test images, one of them with images too, and which colour and mark is which class.

    Args:
        looked: features of the images.
        rows: of the images.
        thumbnail: makes a small copy of an image.

    Returns:
        None where there are too few.
    """
    rows = [row for row in rows if row["path"] in looked.rows]
    if len(rows) < FEWEST:
        return None
    counts = Counter(row["label"] for row in rows)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    kinds = [order.index(row["label"]) for row in rows]
    hollow = [row["label"] != row["predicted"] for row in rows]
    last = len(charts.PALETTE) - 1
    shown = order if len(order) <= last + 1 else [*order[:last], f"{len(order) - last} more classes"]
    signs = zip(shown, charts.PALETTE, charts.SIGNS, strict=False)
    features = looked.of([row["path"] for row in rows])
    near = neighbour_plane(features)
    return {
        "principal": charts.points(principal_plane(features), kinds, hollow),
        "neighbours": charts.points(near, kinds, hollow),
        "images": _images(near, rows, kinds, thumbnail),
        "size": {"width": WIDTH, "height": HEIGHT, "side": SIDE},
        "legend": [{"name": name, "colour": colour, "sign": sign} for name, colour, sign in signs],
        "count": len(rows),
    }


def _images(
    places: NDArray[np.float64], rows: Sequence[Row], kinds: Sequence[int], thumbnail: Thumbnail
) -> list[dict[str, Any]]:
    """Return images that lie beside each other on the map and cover none, with their places in its pixels."""
    low, high = places.min(axis=0), places.max(axis=0)
    room = np.array([WIDTH - SIDE, HEIGHT - SIDE])
    pixels = (places - low) / np.maximum(high - low, 1e-12) * room
    pixels[:, 1] = room[1] - pixels[:, 1]  # upwards, as in the chart
    taken: list[NDArray[np.float64]] = []
    found = []
    for row, place, kind in zip(rows, pixels, kinds, strict=True):
        if any(np.abs(place - other).max() < SIDE + 2 for other in taken):
            continue
        if image := thumbnail(row, SMALL):
            taken.append(place)
            colour = charts.PALETTE[min(kind, len(charts.PALETTE) - 1)]
            told = {"name": row["key"], "label": row["label"], "wrong": row["label"] != row["predicted"]}
            found.append({"x": f"{place[0]:.1f}", "y": f"{place[1]:.1f}", "image": image, "colour": colour, **told})
    return found
