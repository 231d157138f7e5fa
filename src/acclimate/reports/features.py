"""What frozen features tell of test images: where they lie beside each other, and which training images are nearest."""

from __future__ import annotations

import logging
import os
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
PERPLEXITY = 30  # neighbours that t-SNE keeps close, about, where there are enough images

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
        return self.of([one["path"] for one in self.learned])

    def of(self, paths: Sequence[str]) -> NDArray[np.float32]:
        """Return the features of some images (n, F)."""
        return self.values[[self.rows[path] for path in paths]]

    def nearest(self, path: str | None) -> list[Row]:
        """Return the training images that are nearest to an image, the nearest first, by the cosine."""
        if path is None or path not in self.rows or not self.learned:
            return []
        order = np.argsort(-(self.known @ self.values[self.rows[path]]), kind="stable")[:NEAREST]
        return [self.learned[place] for place in order]


def principal_plane(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return where images lie (N, 2) on the two directions in which their features (N, F) differ most."""
    some = features.astype(float)
    centred = some - some.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[:2, np.abs(directions[:2]).argmax(axis=1)].diagonal())
    found: NDArray[np.float64] = centred @ directions[:2].T * signs
    return found


def neighbour_plane(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return where images lie (N, 2), N at least 4, so that those with like features (N, F) are neighbours.

    t-SNE (van der Maaten and Hinton 2008) from the principal plane, with a fixed seed: distances between groups, and
    their sizes, mean nothing.
    """
    from sklearn.manifold import TSNE

    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    found: NDArray[np.float64] = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(features)
    return found.astype(float)


class Onlooker:
    """Looks at images with the model of a run, which is loaded once, for all tests of the run.

    Args:
        run: what its folder says.
        cache_dir: feature cache, or none.
        backbone: where it is, if not where it was; see `load`.
        domain_encoder: likewise.
    """

    def __init__(
        self,
        run: RunFacts,
        cache_dir: Path | None,
        backbone: str | os.PathLike[str] | None = None,
        domain_encoder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.run, self.cache_dir = run, cache_dir
        self.backbone, self.domain_encoder = backbone, domain_encoder

    @cached_property
    def model(self) -> AdaptedModel | None:
        """The model; none where it cannot be loaded.

        Raises:
            AcclimateError: so it is, although somebody has said where its encoders are.
        """
        try:
            return load(self.run.path, self.backbone, cache_dir=self.cache_dir, domain_encoder=self.domain_encoder)
        except AcclimateError as error:
            if self.backbone or self.domain_encoder:
                raise
            logger.warning("%s: nothing that needs the model is shown (%s)", self.run.path, error)
            return None

    def serving(self, test: str) -> AdaptedModel | None:
        """Return the model, telling the classes of a test apart, where that is one of several data sets."""
        return self.model.of_set(test) if self.model and test in self.model.sets else self.model

    def look_at(self, test: str, shown: Sequence[Row], mapped: Sequence[Row]) -> Features | None:
        """Return the features of test images and of those that were learned from, in the space of the backbone.

        Args:
            test: its name.
            shown: test images of galleries, those first that a map is wanted of most.
            mapped: test images of the map.

        Returns:
            None where the backbone cannot be loaded or has no such features, or images are not where they were.
        """
        learned = self.run.learned(test, LEARNED)
        wanted = {row["path"] for row in (*shown, *mapped, *learned) if row["path"] and is_place(row["path"])}
        model = self.serving(test) if wanted else None
        if model is None or IMAGE not in model.backbone.widths:
            return None
        paths = sorted(wanted)
        try:
            images = as_data([{"key": path, "path": path} for path in paths], model.bands)
            values = image_features(model.backbone, images, self.cache_dir).numpy()
            maps = draw_maps(model, shown)
        except AcclimateError as error:
            logger.warning("%s: no maps and no nearest images (%s)", self.run.path, error)
            return None
        values = values / np.linalg.norm(values, axis=1, keepdims=True).clip(1e-12)
        rows = {path: place for place, path in enumerate(paths)}
        return Features(rows, values, [one for one in learned if one["path"] in rows], maps)


def as_data(rows: Sequence[Row], bands: Bands | None = None) -> ImageData:
    """Return rows with some of the columns of image data, of which `key` and `path` must be there, as image data.

    Args:
        rows: of images, whose paths may be places in files that hold many.
        bands: those that are shown, as in `load_data`.
    """
    columns = {name: [str(row.get(name) or "") for row in rows] for name in COLUMNS}
    places, classes = columns["path"], tuple(sorted(set(columns["label"])))
    files: list[str | None] = [place if Path(place).is_file() else None for place in places]
    table = text_table({**columns, "path": files}).append_column("row", integers(range(len(places))))
    return ImageData("report", table, classes, store=PlacedImages(places), bands=bands)
