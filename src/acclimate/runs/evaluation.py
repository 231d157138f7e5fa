"""Probabilities and metrics of a method on labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from acclimate.errors import DataError, TrainingError
from acclimate.metrics import evaluate_classification
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.methods import Method

BATCH_SIZE = 256


@torch.no_grad()
def probabilities(method: Method, feed: Feed) -> np.ndarray:
    """Return softmax probabilities (N, C) of a feed, in float64, in the order of the method's classes.

    Raises:
        TrainingError: when they are not finite, as after a last step that was too large.
    """
    method.eval()
    device = method.backbone.device
    rows: list[Tensor] = [
        method.logits(batch.to(device)).double().softmax(dim=-1).cpu() for batch in chunks(feed, BATCH_SIZE)
    ]
    scores = torch.cat(rows)
    if not scores.isfinite().all():
        raise TrainingError(
            f"{method.name} gives probabilities that are not finite; train it with a lower learning rate"
        )
    return scores.numpy()


def evaluate(method: Method, feed: Feed, data: ImageData, resamples: int = 1000) -> dict[str, Any]:
    """Return the metrics of a method on labelled images; see `acclimate.metrics.evaluate_classification`.

    Args:
        method: bound to its classes.
        feed: serves `data`.
        data: its class names must be among those of the method.
        resamples: bootstrap resamples over groups.

    Raises:
        DataError: when there is no image, or a class that the method does not know.
    """
    if len(data) == 0:
        raise DataError(f"{data.name}: there is no image to evaluate on; give a split or a data set that has some")
    labels = class_indices(data, method.class_names)
    scores = probabilities(method, feed)
    return evaluate_classification(scores, labels, method.class_names, groups=data.groups, resamples=resamples)


def class_indices(data: ImageData, class_names: tuple[str, ...]) -> np.ndarray:
    """Return the labels (N,) of a data set as indices into `class_names`.

    Raises:
        DataError: when an image has a class that is not among them.
    """
    place = {name: number for number, name in enumerate(class_names)}
    present = [name for name, count in data.counts().items() if count]
    unknown = [name for name in present if name not in place]
    if unknown:
        raise DataError(
            f"{data.name}: the adapter does not know the class '{unknown[0]}'"
            f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''} (it knows {', '.join(class_names)}); "
            f"rename the labels, or bind it to the classes of the data (--rebind) where its method can"
        )
    translate = np.array([place.get(name, -1) for name in data.class_names])
    return translate[data.labels]
