"""Figures of answers that are given at some level of a hierarchy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from acclimate.errors import DataError
from acclimate.metrics.resampling import Resampled


def evaluate_levels(
    levels: ArrayLike,
    right: ArrayLike,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return how often answers are given at each level, and how often they are right there, as JSON values.

    Args:
        levels: `(N,)` of each answer, 1 at the top; 0 where none is given.
        right: `(N,)` whether it is right; of no account where none is given.
        groups, resamples, seed, confidence: of the percentile bootstrap, as in `evaluate_classification`; resamples
            without an answer are left out of its accuracy.

    Returns:
        `levels`, by number, each with `share` of samples and `accuracy`; `accuracy` of all answers, where there are
        some; and `unanswered`, the share of samples without one (each `{"value", "low", "high"}`).

    Raises:
        DataError: there are no samples.

    >>> found = evaluate_levels([1, 2, 2, 0], [True, True, False, False], resamples=10)
    >>> found["levels"]["2"]["share"]["value"], found["levels"]["2"]["accuracy"]["value"]
    (0.5, 0.5)
    """
    level, hit = np.asarray(levels, dtype=np.int64), np.asarray(right, dtype=bool)
    if level.shape != hit.shape or level.ndim != 1:
        raise ValueError(f"levels {level.shape} and answers {hit.shape} do not fit together")
    if not len(level):
        raise DataError("there are no samples to evaluate; give at least one")
    drawn = Resampled(groups, len(level), resamples, seed, confidence)
    each = {
        str(number): {
            "share": drawn.mean((level == number).astype(float)),
            "accuracy": _accuracy(drawn, level == number, hit),
        }
        for number in sorted(set(level.tolist()) - {0})
    }
    found: dict[str, Any] = {"levels": each, "unanswered": drawn.mean((level == 0).astype(float))}
    return found | ({"accuracy": _accuracy(drawn, level > 0, hit)} if each else {})


def _accuracy(drawn: Resampled, counted: np.ndarray, hit: np.ndarray) -> dict[str, float]:
    """Return the share of what is counted that is right."""
    answers, hits = (drawn.weights @ np.bincount(drawn.index, some, drawn.groups) for some in (counted, counted & hit))
    return drawn.figure(hit[counted].mean(), hits[answers > 0] / answers[answers > 0])
