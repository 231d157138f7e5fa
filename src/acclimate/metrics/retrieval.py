"""Retrieval: how often what belongs to a query is among the first K answers, with a bootstrap interval over groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.errors import DataError
from acclimate.metrics.evaluate import draws, group_index
from acclimate.metrics.measures import CUTOFFS, DIRECTIONS


def evaluate_retrieval(
    similarities: ArrayLike,
    owners: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return Recall@1, @5 and @10 in both directions, as JSON values.

    From image to text, an image is a hit at K where one of its captions is among the K texts most similar to it; from
    text to image, a caption is one where its image is. An answer that does not belong to the query and is as similar
    stands before one that does. The intervals come from the percentile bootstrap over groups of images, as in
    `evaluate_classification`; what is drawn are queries, and what they are compared with stays.

    Args:
        similarities: (N, M) of N images and M captions.
        owners: (M,) which image each caption belongs to; every image has one or more.
        groups: (N,); `None`, or an empty name, makes an image its own group.
        resamples: number of bootstrap resamples.
        seed: of the resamples.
        confidence: of the intervals, in (0, 1).

    Returns:
        `images`, `captions`, `groups`, and `image_to_text` and `text_to_image`, each with `recall@1`, `recall@5` and
        `recall@10` as `{"value", "low", "high"}`.

    Raises:
        DataError: there are no images.
        ValueError: shapes that do not fit, or an image without a caption.

    >>> found = evaluate_retrieval([[0.9, 0.1, 0.3], [0.2, 0.4, 0.8]], [0, 0, 1])
    >>> found["image_to_text"]["recall@1"]["value"], round(found["text_to_image"]["recall@1"]["value"], 3)
    (1.0, 0.667)
    """
    scores, owner = np.asarray(similarities, dtype=np.float64), np.asarray(owners, dtype=np.int64)
    if scores.ndim != 2 or owner.shape != (scores.shape[1],):
        raise ValueError(f"similarities {scores.shape} of owners {owner.shape}")
    images = len(scores)
    if images == 0:
        raise DataError("there are no images to measure retrieval on; give a split or a data set that has some")
    if set(owner.tolist()) != set(range(images)):
        raise ValueError("every image needs a caption, and every caption an image")
    group, count = group_index(groups, images)
    weights = np.concatenate(list(draws(count, resamples, seed)))  # (R, G)
    ranks = {"image_to_text": _image_ranks(scores, owner), "text_to_image": _caption_ranks(scores, owner)}
    of_query = {"image_to_text": group, "text_to_image": group[owner]}
    tail = (1 - confidence) / 2
    result: dict[str, Any] = {"images": images, "captions": len(owner), "groups": count}
    for direction in DIRECTIONS:
        result[direction] = {}
        queries = np.bincount(of_query[direction], minlength=count)
        for cutoff in CUTOFFS:
            hit = ranks[direction] <= cutoff
            hits = np.bincount(of_query[direction], weights=hit, minlength=count)
            low, high = np.quantile((weights @ hits) / (weights @ queries), [tail, 1 - tail])
            result[direction][f"recall@{cutoff}"] = {"value": float(hit.mean()), "low": float(low), "high": float(high)}
    return result


def first_answers(similarities: ArrayLike, owners: ArrayLike) -> NDArray[np.bool_]:
    """Return (N,) whether the caption that is most similar to an image is one of its own, as Recall@1 counts it."""
    return _image_ranks(np.asarray(similarities, dtype=np.float64), np.asarray(owners, dtype=np.int64)) == 1


def _image_ranks(scores: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank (N,) of the best caption of each image."""
    own = owner[None] == np.arange(len(scores))[:, None]
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    return ((scores >= best) & ~own).sum(axis=1) + 1


def _caption_ranks(scores: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank (M,) of the image of each caption."""
    own = scores[owner, np.arange(len(owner))]
    return (scores >= own).sum(axis=0)
