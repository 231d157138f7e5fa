"""Two methods on the same test images: how they differ, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.metrics.evaluate import draws, group_index

EXACT = 12  # groups that differ, up to which all their 2^n signs are tried
FLIPS = 10_000  # signs drawn where there are more
LEVEL = 0.05


def compare_hits(
    own: ArrayLike,
    other: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return by how much one method is right more often than another on the same images, as JSON values.

    The interval is that of the percentile bootstrap over groups, drawn for both methods at once, as in
    `evaluate_classification`. With few images it is too narrow: five groups that all speak for one method prove nothing
    yet. So a difference counts only where the sign-flip test over groups agrees (Fisher's randomisation test for pairs;
    with one image a group it is McNemar's exact test), which needs six groups at least.

    Args:
        own: `(N,)`, whether the method is right on each image.
        other: `(N,)`, the same of the other method.
        groups: `(N,)`; `None`, or an empty name, makes an image its own group.
        resamples: number of bootstrap resamples.
        seed: of the resamples and the signs.
        confidence: of the interval, in (0, 1).

    Returns:
        `difference` (`{"value", "low", "high"}`, the share of images, positive where the first is better), `p` of the
        test (two-sided), `differing`, the images on which just one of them is right, and `outcome`: `better`, `worse`
        or `within the noise`.

    Raises:
        ValueError: lengths that differ, or no images.

    >>> compare_hits([1, 1, 1, 1], [0, 0, 0, 1])["outcome"]
    'within the noise'
    >>> compare_hits([1] * 8, [0] * 8)["outcome"]
    'better'
    """
    first, second = np.asarray(own, dtype=float), np.asarray(other, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"hits of shapes {first.shape} and {second.shape}; give two equal rows that are not empty")
    gap = first - second
    index, count = group_index(groups, len(gap))
    sums, sizes = np.bincount(index, weights=gap, minlength=count), np.bincount(index, minlength=count)
    resampled = np.concatenate([(weights @ sums) / (weights @ sizes) for weights in draws(count, resamples, seed)])
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    p, value = _sign_flip(sums[sums != 0], seed), float(gap.mean())
    clear = p < LEVEL and (low > 0 or high < 0)
    return {
        "difference": {"value": value, "low": float(low), "high": float(high)},
        "p": p,
        "differing": int(np.count_nonzero(gap)),
        "outcome": ("better" if value > 0 else "worse") if clear else "within the noise",
    }


def _sign_flip(sums: NDArray[np.float64], seed: int) -> float:
    """Return how probable a sum as far from 0 is, where each group might as well speak for the other method."""
    if not len(sums):
        return 1.0
    if len(sums) <= EXACT:
        signs, observed = np.array(list(product((-1, 1), repeat=len(sums)))), 0
    else:  # what was seen is one of the draws, so that p is never 0
        signs, observed = np.random.default_rng(seed).choice((-1, 1), (FLIPS, len(sums))), 1
    as_far = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return float((as_far.sum() + observed) / (len(signs) + observed))
