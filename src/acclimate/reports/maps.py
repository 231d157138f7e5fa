"""Where a model looked in the test images that a page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from acclimate.data.held import is_place
from acclimate.reports.pictures import SIDE, embedded
from acclimate.runs.saliency import look_at_images
from acclimate.runs.saliency_files import draw_map

if TYPE_CHECKING:
    from acclimate.runs import AdaptedModel

MOST = 40  # maps of a test: about 300 kB, and some seconds


def draw_maps(model: AdaptedModel, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what counts for the answer about test images, as `data:` addresses by their paths.

    Args:
        model: what gave the answers. One that is looked at by occlusion has no maps here: each takes dozens of passes.
        rows: of the images, the most wanted first.
    """
    paths = [*dict.fromkeys(row["path"] for row in rows if row["path"] and is_place(row["path"]))][:MOST]
    if not model.class_names or not paths:
        return {}
    drawn: dict[str, str] = {}
    for path, found in zip(paths, look_at_images(model, paths, on_corrupt="skip"), strict=True):
        if found.how == "occlusion":
            return {}
        if not found.error:
            drawn[path] = embedded(draw_map(found, SIDE))
    return drawn
