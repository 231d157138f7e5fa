"""Classification of a folder as a whole: what all its images look like changes what is said of each."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from acclimate.errors import ConfigError
from acclimate.methods import Classifier, Method, list_methods
from acclimate.methods.parts.anchored import anchored_probabilities
from acclimate.methods.parts.text import TextClassifier
from acclimate.tasks.classification import Classification
from acclimate.tasks.classified import BATCH_SIZE, Answers, Prediction
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.training.batch import Batch
    from acclimate.training.inputs import Given

logger = logging.getLogger("acclimate.tasks")

OPTION = "`adapt_to_folder=True`"
WARNING = (
    "labels are adapted to all images together: each depends on the others, and they can be worse than without "
    "`adapt_to_folder=True`; measure that on labelled images of such a folder"
)


class FolderClassification(Classification):
    """Classification by `anchored_probabilities`, of methods whose classes are directions among image features.

    Args:
        inner: says what else is said of each image, without sets of classes.
    """

    def __init__(self, inner: Classification) -> None:
        self.inner, self.reads = inner, inner.reads
        self._images: list[Tensor] = []  # directions of the images that were predicted

    def notes(self) -> Iterator[tuple[int, str]]:
        """Yield what else is said, and that labels depend on all images."""
        yield from self.inner.notes()
        yield logging.WARNING, WARNING

    @torch.no_grad()
    def answer(self, method: TextClassifier, feed: Feed, data: ImageData, given: Given) -> Answers:  # type: ignore[override]
        """Return probabilities from all images together, without sets, which hold for images one by one."""
        logger.warning("%s", WARNING)
        found = super().answer(method, feed, data, given)
        device = method.backbone.device
        images = torch.cat([method.image_directions(batch.to(device)).cpu() for batch in chunks(feed, BATCH_SIZE)])
        return found._replace(probabilities=_adapted(method, images, found.probabilities), sets={})

    @torch.no_grad()
    def predict(self, method: TextClassifier, batch: Batch, paths: Sequence[str]) -> Iterator[Prediction]:  # type: ignore[override]
        """Yield what is said of each image alone, and remember where it lies."""
        self._images.append(method.image_directions(batch).cpu())
        yield from self.inner.predict(method, batch, paths)

    def complete(self, method: TextClassifier, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the predictions of all images, adapted, when the last one has been read."""
        self._images = []
        rows = list(predictions)
        alone = [row.probabilities for row in rows if not row.error]
        shares = iter(_adapted(method, torch.cat(self._images), np.stack(alone)) if alone else ())
        self._images = []
        for row in rows:
            if row.error:
                yield row
                continue
            own = next(shares)
            best = int(own.argmax())
            yield replace(row, label=method.class_names[best], probability=float(own[best]), probabilities=own)

    def columns(self, method: Classifier) -> dict[str, type]:
        """Return those of what else is said."""
        return self.inner.columns(method)

    def row(self, method: Classifier, prediction: Prediction) -> dict[str, str | float | None]:
        """Return the row of an image."""
        return self.inner.row(method, prediction)

    def plain(self, method: Classifier, prediction: Prediction) -> dict[str, Any]:
        """Return a prediction as plain values."""
        return self.inner.plain(method, prediction)

    def line(self, prediction: Prediction) -> str:
        """Return a prediction as a line of text."""
        return self.inner.line(prediction)


@torch.no_grad()
def _adapted(method: TextClassifier, images: Tensor, alone: np.ndarray) -> np.ndarray:
    """Return probabilities (N, C) of images (N, E), given those of each alone."""
    return anchored_probabilities(images, method.class_weights().cpu(), torch.from_numpy(alone)).numpy()


def can_adapt(method: type[Method]) -> bool:
    """Return whether the classes of a method are directions among image features, the same for all images."""
    return issubclass(method, TextClassifier) and not method.prompts_per_image


def adapting_to_folder(inner: Classification, method: Method) -> FolderClassification:
    """Return the task that adapts to all images together.

    Raises:
        ConfigError: the method has nothing that could be adapted.
    """
    if not can_adapt(type(method)):
        able = ", ".join(other.name for other in list_methods() if can_adapt(other))
        raise ConfigError(
            f"{OPTION}: {method.name} has no directions of classes among features of images that could be adapted; "
            f"leave it out, or adapt with a method that has them ({able})"
        )
    return FolderClassification(inner)
