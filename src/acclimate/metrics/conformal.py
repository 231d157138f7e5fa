"""Prediction sets that hold the right class as often as is asked: temperature, conformal ranks, worth of sets.

Plain numpy functions of probabilities of images that were not learned from. `y` stands for the labels, `p` for the
probabilities, `c` for the share of sets that are to hold the right class, above 0 and below 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.metrics.evaluate import group_index
from acclimate.metrics.functional import NLL_FLOOR, check_labels, check_probabilities, negative_log_likelihood
from acclimate.metrics.resampling import Resampled

HOTTEST = 20.0  # temperatures lie between this and its inverse
ROUNDING = 1e-9  # of a product such as 10 x 0.9, whose next whole number is 9 and not 10


def units_needed(coverage: float) -> int:
    """Return how many independent images a threshold needs at least: the least n with ceil((n + 1) c) <= n.

    >>> [units_needed(c) for c in (0.5, 0.8, 0.9, 0.95)]
    [1, 4, 9, 19]
    """
    return math.ceil(coverage / (1 - coverage) - ROUNDING)


def conformal_threshold(scores: ArrayLike, coverage: float, groups: Sequence[Any] | None = None) -> float:
    """Return the threshold under which the score of a new image lies with a probability of at least `c`.

    Of n scores without groups it is the ceil((n + 1) c)-th smallest, infinity where that rank exceeds n (Vovk et al.
    2005; Angelopoulos and Bates 2021, arXiv 2107.07511, section 1). Images of one group are no independent evidence:
    new images come from new groups. So G groups share the weight, 1 each, among their N_g images: the smallest s with

        sum_g #{i in g: s_i <= s} / N_g >= c (G + 1),

    which is exact for an image of a new group (Lee, Barber and Willett 2023, arXiv 2306.06342, HCP), and the same as
    the rank where every group is one image.

    Args:
        scores: (n,) of held-out images, the larger the less the image conforms.
        coverage: `c`.
        groups: (n,); `None`, or an empty name, makes an image its own group.

    >>> conformal_threshold([0.4, 0.1, 0.3, 0.2], 0.8), conformal_threshold([0.4, 0.1, 0.3, 0.2], 0.81)
    (0.4, inf)
    """
    values = np.asarray(scores, dtype=np.float64)
    group, count = group_index(groups, len(values))
    order = np.argsort(values, kind="stable")
    shares = (1.0 / np.bincount(group, minlength=count)[group])[order]
    enough = np.flatnonzero(np.cumsum(shares) >= coverage * (count + 1) - ROUNDING * (count + 1))
    return float(values[order[enough[0]]]) if len(enough) else math.inf


def tempered(probabilities: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Return `p^(1/T)`, each row again summing to 1: the softmax of logits divided by T (Guo et al. 2017, section 4.2).

    >>> tempered([[0.8, 0.2]], 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    p = check_probabilities(probabilities)
    with np.errstate(divide="ignore"):
        logs = np.log(p) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fit_temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the T in 0.05 ... 20 at which `tempered` probabilities have the least log loss.

    Images whose class has a probability below 1e-12, such as a class without a training image, say nothing of T.
    Without any other, T = 1.

    Args:
        probabilities: (N, C) of images that were not learned from.
        labels: (N,).
    """
    from scipy.optimize import minimize_scalar  # takes a while, and not everybody needs it

    p = check_probabilities(probabilities)
    y = check_labels(labels, p.shape[1])
    told = p[np.arange(len(y)), y] > NLL_FLOOR
    if not told.any() or p.shape[1] == 1:
        return 1.0
    p, y = p[told], y[told]

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(tempered(p, math.exp(log_temperature)), y)

    end = math.log(HOTTEST)
    return float(math.exp(minimize_scalar(loss, bounds=(-end, end), method="bounded").x))


def nonconformity(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return `1 - p[y]` per image (Sadinle et al. 2019, arXiv 1609.00451: LAC, the smallest sets on average)."""
    p = check_probabilities(probabilities)
    y = check_labels(labels, p.shape[1])
    return 1.0 - p[np.arange(len(y)), y]


def sets_within(probabilities: ArrayLike, thresholds: ArrayLike) -> NDArray[np.bool_]:
    """Return which classes are in the set of each image (N, C): those with `1 - p_k <= q_k`, and the most probable one.

    An empty set would tell nobody anything. So coverage exceeds what is asked where a classifier is right more often.

    Args:
        probabilities: (N, C).
        thresholds: q (C,), infinity for a class that is in every set.
    """
    p = check_probabilities(probabilities)
    sets = 1.0 - p <= np.asarray(thresholds, dtype=np.float64)
    sets[np.arange(len(p)), p.argmax(axis=1)] = True
    return sets


def evaluate_sets(
    sets: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return what prediction sets are worth on labelled images, with bootstrap intervals over groups.

    Args:
        sets: (N, C) which classes are in the set of each image.
        labels: (N,).
        class_names: (C,).
        groups: (N,); `None`, or an empty name, makes an image its own group.
        resamples, seed, confidence: of the intervals.

    Returns:
        `coverage`, the share of sets that hold the right class, and `size`, the mean number of classes in a set (each
        `{"value", "low", "high"}`); `group_coverage` and `balanced_coverage`, the means over groups and over classes;
        `worst_class` with its `name`, `coverage` and `images`; `single`, the share of sets of one class; `all`, that of
        sets of all classes.

    >>> found = evaluate_sets([[True, False], [True, True], [True, False]], [0, 1, 1], ["cat", "dog"])
    >>> round(found["coverage"]["value"], 3), round(found["size"]["value"], 3), found["worst_class"]
    (0.667, 1.333, {'name': 'dog', 'coverage': 0.5, 'images': 2})
    """
    inside = np.asarray(sets, dtype=bool)
    y = check_labels(labels, inside.shape[1])
    held, sizes = inside[np.arange(len(y)), y].astype(np.float64), inside.sum(axis=1).astype(np.float64)
    drawn = Resampled(groups, len(y), resamples, seed, confidence)
    images = np.bincount(y, minlength=inside.shape[1])
    shares = np.bincount(y, weights=held, minlength=inside.shape[1]) / np.maximum(images, 1)
    per_group = np.bincount(drawn.index, weights=held) / np.bincount(drawn.index)
    worst = int(np.where(images > 0, shares, np.inf).argmin())
    return {
        "coverage": drawn.mean(held),
        "size": drawn.mean(sizes),
        "group_coverage": float(per_group.mean()),
        "balanced_coverage": float(shares[images > 0].mean()),
        "worst_class": {"name": class_names[worst], "coverage": float(shares[worst]), "images": int(images[worst])},
        "single": float((sizes == 1).mean()),
        "all": float((sizes == inside.shape[1]).mean()),
    }
