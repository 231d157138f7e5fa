"""Probabilities and metrics of a method on labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.errors import ConfigError, DataError, TrainingError
from acclimate.methods import list_methods
from acclimate.metrics import evaluate_classification, evaluate_retrieval
from acclimate.training.features import text_features
from acclimate.training.feeds import Feed, chunks
from acclimate.training.serving import evaluation_feed

if TYPE_CHECKING:
    from pathlib import Path

    from acclimate.data import CaptionData, ImageData
    from acclimate.methods import Method
    from acclimate.training.progress import Progress

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


@torch.no_grad()
def evaluate_captions(
    method: Method,
    data: CaptionData,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Return how well a method finds captions by images, and images by captions; see `evaluate_retrieval`.

    Args:
        method: gives the queries.
        data: images with captions.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
        resamples: bootstrap resamples over groups.

    Raises:
        DataError: there is no image.
        ConfigError: the method compares no images with captions.
        TrainingError: what it gives is not finite.
    """
    if not method.retrieves:
        raise ConfigError(f"{method.name} tells classes apart and finds no captions; {_those_that_do()}")
    if len(data) == 0:
        raise DataError(f"{data.name}: there is no image to evaluate on; give a split or a data set that has some")
    method.eval()
    backbone, captions = method.backbone, data.captions
    feed = evaluation_feed(method.needs, backbone, data.images, cache_dir, progress, method.domain_encoder)
    queries = torch.cat([method.queries(batch.to(backbone.device)).cpu() for batch in chunks(feed, BATCH_SIZE)])
    texts = text_features(backbone, [text for some in captions for text in some], cache_dir, progress)
    owners = torch.arange(len(captions)).repeat_interleave(torch.tensor([len(some) for some in captions]))
    similarities = queries.double() @ F.normalize(texts, dim=-1).double().T
    if not similarities.isfinite().all():
        raise TrainingError(f"{method.name} gives queries that are not finite; train it with a lower learning rate")
    return evaluate_retrieval(similarities.numpy(), owners.numpy(), data.images.groups, resamples=resamples)


def refuse_captions(method: type[Method], data: CaptionData) -> None:
    """Refuse to learn from captions with a method that learns from labels.

    Raises:
        ConfigError: it does.
    """
    if not method.retrieves:
        raise ConfigError(
            f"{data.name} has captions, and {method.name} learns from labels; {_those_that_do()}, or give a table with "
            "the columns path,label"
        )


def _those_that_do() -> str:
    names = [method.name for method in list_methods() if method.retrieves]
    return f"methods for captions: {', '.join(names)}"


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
