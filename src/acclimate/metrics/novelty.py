"""Known or unknown: whether an image is like those that were learned from, as plain numpy functions of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.metrics.evaluate import group_index


def nearest_distances(features: ArrayLike, known: ArrayLike) -> NDArray[np.float64]:
    """Return the squared distance of each row (N, F) to the nearest of others (M, F), M at least 1."""
    return _squared(features, known).min(axis=1)


def left_out_distances(known: ArrayLike, groups: Sequence[Any] | None = None) -> NDArray[np.float64]:
    """Return the squared distance of each row (M, F) to the nearest one of another group, infinity where there is none.

    Args:
        known: features.
        groups: (M,); `None`, or an empty name, makes an image its own group.
    """
    square = _squared(known, known)
    group, _ = group_index(groups, len(square))
    square[group[:, None] == group] = np.inf
    return square.min(axis=1)


def p_values(distances: ArrayLike, left_out: ArrayLike, groups: Sequence[Any] | None = None) -> NDArray[np.float64]:
    """Return the p-value of each distance d (N,) among those of left-out training images, which are known.

    p = (1 + #{i: l_i >= d}) / (M + 1) (Vovk et al. 2005; Bates et al. 2023, arXiv 2104.08279). Of an image that is like
    the training images, p < a with a probability of at most a, as far as leaving one out changes little. Groups share
    the weight of one image, see `conformal_threshold`: p = (1 + sum_g #{i in g: l_i >= d} / N_g) / (G + 1).

    Args:
        distances: of new images to the nearest training image.
        left_out: (M,) of training images, see `left_out_distances`.
        groups: (M,) of these; `None`, or an empty name, makes an image its own group.

    >>> p_values([0.5, 3.0], [1.0, 2.0, 0.1]).tolist()
    [0.75, 0.25]
    """
    reference = np.asarray(left_out, dtype=np.float64)
    group, count = group_index(groups, len(reference))
    shares = 1.0 / np.bincount(group, minlength=count)[group]
    order = np.argsort(reference, kind="stable")
    above = np.concatenate([np.cumsum(shares[order][::-1])[::-1], [0.0]])  # weight of the i-th smallest and all larger
    places = np.searchsorted(reference[order], np.asarray(distances, dtype=np.float64), side="left")
    return (1.0 + above[places]) / (count + 1.0)


def area_under_roc(negatives: ArrayLike, positives: ArrayLike) -> float:
    """Return the AUROC: the share of pairs in which the positive has the larger score, equal ones counting half.

    That is Mann and Whitney's U / (N M); 0.5 is chance.

    Args:
        negatives: (N,) scores, such as distances of known images; at least one.
        positives: (M,) scores, such as distances of others; at least one.

    >>> area_under_roc([0.1, 0.4], [0.4, 0.9])
    0.875
    """
    low, high = np.sort(np.asarray(negatives, dtype=np.float64)), np.asarray(positives, dtype=np.float64)
    below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(below.sum() / (2.0 * len(low) * len(high)))


def _squared(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Return |x - y|^2 (N, M) of rows (N, F) and (M, F)."""
    x, y = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2.0 * x @ y.T, 0.0)
