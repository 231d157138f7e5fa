"""The figures of one evaluation, each with a bootstrap interval over groups."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.metrics.functional import (
    calibration_terms,
    check_labels,
    check_probabilities,
    confusion_matrix,
    likelihood_terms,
)
from acclimate.metrics.measures import CLASSIFICATION

_logger = logging.getLogger("acclimate.metrics")
_CHUNK_CELLS = 4_000_000  # cells of the matrix of draws in memory at once: 32 MB


def evaluate_classification(
    probabilities: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    bins: int = 15,
) -> dict[str, Any]:
    """Return every figure of a classifier on labelled samples, as JSON values.

    The intervals come from the percentile bootstrap over clusters (Davison and Hinkley 1997, section 3.8): whole
    groups are drawn with replacement, since images of one patient, place or scene are no independent evidence.
    Classes that are absent from a resample are left out of its means. With a single group no interval can be
    estimated; it then has no width, and a warning says so.

    Args:
        probabilities: `(N, C)`, each row summing to 1.
        labels: `(N,)` integers in `0..C-1`.
        class_names: `(C,)`.
        groups: `(N,)`; `None`, or an empty name, makes a sample its own group.
        resamples: number of bootstrap resamples.
        seed: of the resamples.
        confidence: of the intervals, in (0, 1).
        bins: of the calibration error.

    Returns:
        `samples`, `groups`, `accuracy`, `balanced_accuracy`, `macro_f1`, `ece`, `nll` (each `{"value", "low",
        "high"}`), `per_class` (`{name: {"support", "precision", "recall", "f1"}}`, 0 where a ratio is not defined),
        `confusion_matrix` (rows: true class) and `class_names`.

    Raises:
        DataError: there are no samples.
        ValueError: probabilities that are none, labels out of range, or lengths that differ.

    >>> result = evaluate_classification([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ["cat", "dog"])
    >>> round(result["accuracy"]["value"], 3), result["confusion_matrix"]
    (0.667, [[1, 0], [1, 1]])
    """
    p = check_probabilities(probabilities)
    y = check_labels(labels, p.shape[1])
    if len(class_names) != p.shape[1]:
        raise ValueError(f"{len(class_names)} class names, but probabilities of {p.shape[1]} classes")
    if len(y) != len(p):
        raise ValueError(f"{len(y)} labels, but probabilities of {len(p)} samples")
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError(f"confidence={confidence} must lie in (0, 1) and resamples={resamples} be at least 1")
    group, group_count = group_index(groups, len(y))
    if group_count == 1:
        _logger.warning("all samples, %d, are of one group: no confidence interval can be estimated", len(y))

    guess = p.argmax(1)
    sums = _Sums(p, y, guess, group=group, groups=group_count, bins=bins)
    values = sums.metrics(np.ones((1, group_count)))[:, 0]
    resampled = np.concatenate([sums.metrics(w) for w in draws(group_count, resamples, seed)], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail], axis=1)
    matrix = confusion_matrix(y, guess, p.shape[1])
    return {
        "samples": len(y),
        "groups": group_count,
        **{
            name: {"value": float(values[i]), "low": float(low[i]), "high": float(high[i])}
            for i, name in enumerate(CLASSIFICATION)
        },
        "per_class": _per_class(matrix, class_names),
        "confusion_matrix": matrix.tolist(),
        "class_names": list(class_names),
    }


class _Sums:
    """Everything the metrics need, summed per group, so that a resample is one product with its group weights."""

    def __init__(
        self,
        p: NDArray[np.float64],
        y: NDArray[np.int64],
        guess: NDArray[np.int64],
        *,
        group: NDArray[np.int64],
        groups: int,
        bins: int,
    ) -> None:
        from scipy import sparse  # who only wants to know what figures there are need not wait for it

        self.classes, self.bins = p.shape[1], bins
        bin_index, gap = calibration_terms(p, y, bins)
        hits = y == guess
        # Columns: support of each class | predictions of each class | hits of each class | gap of each bin | nll |
        # count.
        columns = [
            y,
            guess + self.classes,
            y[hits] + 2 * self.classes,
            bin_index + 3 * self.classes,
            np.full(len(y), 3 * self.classes + bins),
        ]
        rows = [group, group, group[hits], group, group]
        values = [np.ones(len(y)), np.ones(len(y)), np.ones(int(hits.sum())), gap, likelihood_terms(p, y)]
        shape = (groups, 3 * self.classes + bins + 1)
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        self.transposed = sparse.csr_matrix(sparse.coo_matrix(entries, shape=shape).T)

    def metrics(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the figures of `CLASSIFICATION` `(5, R)` of resamples that count group g `weights[r, g]` times."""
        c = self.classes
        sums = self.transposed @ weights.T  # (columns, R)
        support, predicted, hits = sums[:c], sums[c : 2 * c], sums[2 * c : 3 * c]
        count, present = support.sum(0), support > 0
        classes = present.sum(0)
        recall = np.divide(hits, support, out=np.zeros_like(hits), where=present)
        f1 = np.divide(2 * hits, support + predicted, out=np.zeros_like(hits), where=present)
        return np.stack(
            [
                hits.sum(0) / count,
                recall.sum(0) / classes,
                f1.sum(0) / classes,
                np.abs(sums[3 * c : 3 * c + self.bins]).sum(0) / count,
                sums[-1] / count,
            ]
        )


def draws(groups: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield weights `(r, groups)` of resamples, few enough at a time to bound memory."""
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // groups)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        picks = rng.integers(0, groups, (rows, groups))
        picks += np.arange(rows)[:, None] * groups
        yield np.bincount(picks.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)


def group_index(groups: Sequence[str] | None, samples: int) -> tuple[NDArray[np.int64], int]:
    """Return which group each sample is of (N,), and how many there are; `None`, or no name, is a group of its own."""
    if groups is None:
        return np.arange(samples), samples
    if len(groups) != samples:
        raise ValueError(f"{len(groups)} groups, but {samples} samples")
    names: dict[Any, int] = {}
    index = [names.setdefault(name if name not in ("", None) else (i,), len(names)) for i, name in enumerate(groups)]
    return np.array(index, dtype=np.int64), len(names)


def _per_class(matrix: NDArray[np.int64], class_names: Sequence[str]) -> dict[str, dict[str, float]]:
    hits, support, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return {
        name: {
            "support": int(support[k]),
            "precision": float(hits[k] / max(predicted[k], 1)),
            "recall": float(hits[k] / max(support[k], 1)),
            "f1": float(2 * hits[k] / max(support[k] + predicted[k], 1)),
        }
        for k, name in enumerate(class_names)
    }
