"""What `AdaptedModel` says of images, all at once or one after another."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from acclimate import arguments
from acclimate.data import each_image
from acclimate.data.given import Several
from acclimate.data.hierarchy import Hierarchy
from acclimate.methods.trust import UNKNOWN
from acclimate.runs.prediction import stream_predictions
from acclimate.tasks.within import FLOOR
from acclimate.training.devices import Precision, resolve_precision

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel

logger = logging.getLogger("acclimate.runs")


def predict_images(
    self: AdaptedModel,
    images: Several,
    batch_size: int = 32,
    *,
    coverage: float | None = None,
    known: float = UNKNOWN,
    hierarchy: str | os.PathLike[str] | Hierarchy | None = None,
    floor: float = FLOOR,
    adapt_to_folder: bool = False,
    precision: Precision = "fp32",
) -> list[Any]:
    """Return a prediction for each image, as the task has it: of classes, `acclimate.tasks.Prediction`.

    Args:
        images: paths of files, folders or patterns, Pillow images, NumPy arrays (H, W) or (H, W, 3) of uint8 or of
            floats from 0 to 1, the bytes of files, open files; one of them, or several in a list or a generator;
            `ImageData`, a `datasets` data set, or a table in memory with a column `path`. See
            `acclimate.data.each_image`.
        batch_size: images a pass, 1 or more.
        coverage: how often the `set` of classes of a prediction is to hold the right one, above 0 and below 1;
            probabilities are tempered then. None: there are no sets.
        known: the p-value below which an image is called unknown; 0: nothing is said of that.
        hierarchy: a tree of the classes, or its file, see `Hierarchy.read`: predictions say its deepest `node`
            whose classes together reach the floor; probabilities are tempered then, where the run knows how.
        floor: that sum, above 0 and below 1.
        adapt_to_folder: label all images together, see `FolderClassification`; each label then depends on the
            other images, and can be worse for it.
        precision: number format of products: `fp32`, `bf16` (see `acclimate.training.devices.in_precision`), or `fp16`
            on a GPU; `auto` is bf16 on a GPU that has it.

    Raises:
        AcclimateError: an image that cannot be read, which `stream` can skip, a wrong option, or no classes.
    """
    told: dict[str, Any] = {"coverage": coverage, "known": known, "hierarchy": hierarchy, "floor": floor}
    told |= {"adapt_to_folder": adapt_to_folder, "precision": precision}
    return list(self.stream(images, batch_size, **told))


def stream_images(
    self: AdaptedModel,
    images: Several,
    batch_size: int = 32,
    on_corrupt: str = "error",
    *,
    coverage: float | None = None,
    known: float = UNKNOWN,
    hierarchy: str | os.PathLike[str] | Hierarchy | None = None,
    floor: float = FLOOR,
    adapt_to_folder: bool = False,
    precision: Precision = "fp32",
) -> Iterator[Any]:
    """Yield a prediction for each image without holding more than a few batches.

    Args:
        images, batch_size, coverage, known, hierarchy, floor, precision: as in `predict`.
        adapt_to_folder: as in `predict`; features of all images are held then, and none is labelled before the last
            has been read.
        on_corrupt: `error` raises at the first unreadable image; `skip` yields a prediction with its `error`.

    Raises:
        AcclimateError: as in `predict`.
    """
    self.task.check_predicts(self.method)
    batch_size = arguments.whole("batch_size", batch_size, 1)
    arguments.one_of("on_corrupt", on_corrupt, ("error", "skip"))
    resolve_precision(precision, self.backbone.device)
    predictor = self.task.predictor(self.method, coverage, known, self.within(hierarchy, floor, adapt_to_folder))
    if adapt_to_folder:
        predictor = predictor.adapting_to_folder(self.method)
    for level, note in predictor.notes():
        logger.log(level, "%s", note)
    how = (batch_size, on_corrupt, self.bands, precision)
    found = stream_predictions(predictor, self.method, each_image(images), *how)
    return iter(predictor.complete(self.method, found))
