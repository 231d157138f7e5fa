"""What frozen features tell of test images: where they lie beside each other, and which training images are nearest."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.data import ImageData
from acclimate.data.bands import Bands
from acclimate.data.columns import integers, text_table
from acclimate.data.dataset import COLUMNS
from acclimate.data.held import PlacedImages, is_place
from acclimate.errors import AcclimateError
from acclimate.reports.maps import draw_maps
from acclimate.runs import load
from acclimate.training.encoding import image_features
from acclimate.training.inputs import IMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.reports.run_facts import RunFacts
    from acclimate.runs import AdaptedModel

MAPPED, LEARNED = 500, 2000  # test images on the map, and training images that are looked at, at most
NEAREST = 3

logger = logging.getLogger("acclimate.reports")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Features:
    """Features of images by their paths, and the training images among them.

    Attributes:
        rows: the row of each path in `values`.
        values: (N, F), L2-normalised.
        learned: the training images, each with `path`, `key` and `label`.
        maps: where the model looked, see `draw_maps`.
    """

    rows: Mapping[str, int]
    values: NDArray[np.float32]
    learned: Sequence[Row]
    maps: Mapping[str, str]

    @cached_property
    def known(self) -> NDArray[np.float32]:
        """The features (M, F) of the training images."""
        return self.values[[self.rows[one["path"]] for one in self.learned]]

    def nearest(self, path: str | None) -> list[Row]:
        """Return the training images that are nearest to an image, the nearest first, by the cosine."""
        if path is None or path not in self.rows or not self.learned:
            return []
        order = np.argsort(-(self.known @ self.values[self.rows[path]]), kind="stable")[:NEAREST]
        return [self.learned[place] for place in order]

    def plane(self, paths: Sequence[str]) -> NDArray[np.float64]:
        """Return where images lie (N, 2) on the two directions in which they differ most (principal components)."""
        some = self.values[[self.rows[path] for path in paths]].astype(float)
        centred = some - some.mean(axis=0)
        _, _, directions = np.linalg.svd(centred, full_matrices=False)
        signs = np.sign(directions[:2, np.abs(directions[:2]).argmax(axis=1)].diagonal())
        found: NDArray[np.float64] = centred @ directions[:2].T * signs
        return found


class Onlooker:
    """Looks at images with the model of a run, which is loaded once, for all tests of the run.

    Args:
        run: what its folder says.
        cache_dir: feature cache, or none.
    """

    def __init__(self, run: RunFacts, cache_dir: Path | None) -> None:
        self.run, self.cache_dir = run, cache_dir

    @cached_property
    def model(self) -> AdaptedModel:
        """The model, see `load`."""
        return load(self.run.path, cache_dir=self.cache_dir)

    def look_at(self, shown: Sequence[Row], mapped: Sequence[Row]) -> Features | None:
        """Return the features of test images and of those that were learned from, in the space of the backbone.

        Args:
            shown: test images of galleries, those first that a map is wanted of most.
            mapped: test images of the map.

        Returns:
            None where the backbone cannot be loaded or has no such features, or images are not where they were.
        """
        run, learned = self.run, _learned(self.run)
        wanted = {row["path"] for row in (*shown, *mapped, *learned) if row["path"] and is_place(row["path"])}
        if not wanted:
            return None
        paths = sorted(wanted)
        try:
            backbone = self.model.backbone
            if IMAGE not in backbone.widths:
                return None
            data = _images(run.record["data"]["name"], paths, self.model.bands)
            values = image_features(backbone, data, self.cache_dir).numpy()
            maps = draw_maps(self.model, shown)
        except AcclimateError as error:
            logger.warning("%s: no maps and no nearest images (%s)", run.path, error)
            return None
        values = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
        rows = {path: place for place, path in enumerate(paths)}
        return Features(rows, values, [one for one in learned if one["path"] in rows], maps)


def _images(name: str, places: Sequence[str], bands: Bands | None) -> ImageData:
    """Return images at places, without labels."""
    files: list[str | None] = [place if Path(place).is_file() else None for place in places]
    table = text_table(dict.fromkeys(COLUMNS, [""] * len(places)) | {"key": places, "path": files})
    table = table.append_column("row", integers(range(len(places))))
    return ImageData(name, table, ("",), store=PlacedImages(places), bands=bands)


def _learned(run: RunFacts) -> list[dict[str, Any]]:
    """Return training images with their paths, which lie where test images do; evenly chosen where there are many."""
    rows = run.splits.get("splits", {}).get("train", [])
    root = _root(run)
    if root is None:
        return []
    step = -(-len(rows) // LEARNED) or 1
    return [{"path": root + row["key"], "key": row["key"], "label": row.get("label", "")} for row in rows[::step]]


def _root(run: RunFacts) -> str | None:
    """Return what stands before the key of an image in its path; none where that is not known."""
    if run.predictions is None or not len(run.predictions):
        return None
    path, key = (run.predictions[name][0].as_py() for name in ("path", "key"))
    return path.removesuffix(key) if path and path.endswith(key) else None
