"""Figures of images with several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.errors import DataError
from acclimate.metrics.resampling import Resampled


def mean_average_precision(probabilities: ArrayLike, truth: ArrayLike) -> float | None:
    """Return the mean over labels of Σ_n (R_n - R_n-1) P_n, precision P over recall R; `None` where none can be had.

    Labels that no sample has, or that all have, are left out.

    Args:
        probabilities: `(N, K)`.
        truth: `(N, K)` bool.

    >>> mean_average_precision([[0.9, 0.2], [0.8, 0.7], [0.1, 0.3]], [[1, 0], [0, 1], [1, 0]])
    0.9166666666666666
    """
    return _mean(_average_precisions(np.asarray(probabilities, float), np.asarray(truth, bool)))


def evaluate_labels(probabilities: ArrayLike, truth: ArrayLike, labels: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a classifier whose samples may have several labels, as JSON values.

    A label is given where its probability is at least one half.

    Args:
        probabilities: `(N, K)`, each by itself from 0 to 1.
        truth: `(N, K)` bool, which labels each sample has.
        labels: `(K,)`.

    Returns:
        `samples`, `exact_match` (share of samples with all labels right), `label_accuracy` (share of all answers that
        are right), `mean_average_precision`, `macro_auc` (each `{"value"}`, None where it cannot be had), and
        `per_label` (`{name: {"support", "average_precision", "auc"}}`).

    Raises:
        DataError: there are no samples.

    >>> found = evaluate_labels([[0.9, 0.2], [0.8, 0.7], [0.1, 0.3]], [[1, 0], [0, 1], [0, 0]], ["rain", "night"])
    >>> found["exact_match"]["value"], round(found["label_accuracy"]["value"], 3), found["macro_auc"]["value"]
    (0.6666666666666666, 0.833, 1.0)
    """
    p, y = np.asarray(probabilities, float), np.asarray(truth, bool)
    if p.shape != y.shape or p.ndim != 2 or p.shape[1] != len(labels):
        raise ValueError(f"probabilities {p.shape}, truth {y.shape} and {len(labels)} labels do not fit together")
    if not len(p):
        raise DataError("there are no samples to evaluate; give at least one")
    right = (p >= 0.5) == y
    precisions, areas = _average_precisions(p, y), _areas(p, y)
    return {
        "samples": len(p),
        "exact_match": {"value": float(right.all(1).mean())},
        "label_accuracy": {"value": float(right.mean())},
        "mean_average_precision": {"value": _mean(precisions)},
        "macro_auc": {"value": _mean(areas)},
        "per_label": {
            name: {"support": int(y[:, k].sum()), "average_precision": precisions[k], "auc": areas[k]}
            for k, name in enumerate(labels)
        },
    }


def evaluate_several(
    probabilities: ArrayLike,
    truth: ArrayLike,
    thresholds: ArrayLike,
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return every figure of a classifier whose samples may have several labels, with intervals, as JSON values.

    A label is given where its probability is its threshold or more. With TP, FP and FN of label k,

        F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k),    macro F1 = mean_k F1_k over the labels that samples have,
        micro F1 = 2 sum_k TP_k / sum_k (2 TP_k + FP_k + FN_k),
        AP_k = Σ_n (R_n - R_n-1) P_n,    mAP = mean_k AP_k over the labels that some samples have, and not all,

    and subset accuracy the share of samples with all labels right, those that they have and those that they have not.

    Args:
        probabilities: `(N, K)`, each by itself from 0 to 1.
        truth: `(N, K)` bool, which labels each sample has.
        thresholds: `(K,)`.
        labels: `(K,)`.
        groups, resamples, seed, confidence: of the percentile bootstrap, as in `evaluate_classification`; labels that a
            resample lacks are left out of its means.

    Returns:
        `samples`, `groups`; `mean_average_precision` (None where it cannot be had), `macro_f1`, `micro_f1`,
        `subset_accuracy` (each `{"value", "low", "high"}`); and `per_label` (`{name: {"support", "average_precision",
        "precision", "recall", "f1", "threshold"}}`, 0 where a ratio is not defined).

    Raises:
        DataError: there are no samples.

    >>> found = evaluate_several([[0.9, 0.2], [0.8, 0.7], [0.1, 0.3]], [[1, 0], [0, 1], [1, 0]], [0.5, 0.5], ["a", "b"])
    >>> found["micro_f1"]["value"], round(found["subset_accuracy"]["value"], 3)
    (0.6666666666666666, 0.333)
    """
    p, y, least = np.asarray(probabilities, float), np.asarray(truth, bool), np.asarray(thresholds, float)
    if p.shape != y.shape or p.ndim != 2 or p.shape[1] != len(labels) or least.shape != (len(labels),):
        raise ValueError(f"probabilities {p.shape}, truth {y.shape} and {len(labels)} labels do not fit together")
    if not len(p):
        raise DataError("there are no samples to evaluate; give at least one")
    given, drawn = p >= least, Resampled(groups, len(p), resamples, seed, confidence)
    ranks = [_Ranking(scores, own) for scores, own in zip(p.T, y.T, strict=True)]
    own = _averages(np.ones((1, len(p))), given, y, ranks)
    parts = [_averages(some[:, drawn.index], given, y, ranks) for some in drawn.parts(p.size)]
    found: dict[str, Any] = {"samples": len(p), "groups": drawn.groups}
    for name, value in own.items():
        resampled = np.concatenate([part[name] for part in parts])
        known = resampled[np.isfinite(resampled)]
        if np.isfinite(value[0]):
            found[name] = drawn.figure(value[0], known if len(known) else value)
    found["subset_accuracy"] = drawn.mean((given == y).all(1).astype(float))
    return found | {"per_label": _per_label(given, y, ranks, least, labels)}


class _Ranking:
    """The samples of a label by falling score, for its average precision in many resamples at once.

    Args:
        scores: `(N,)`.
        truth: `(N,)` bool.
    """

    def __init__(self, scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> None:
        self.order = (-scores).argsort(kind="stable")
        self.truth = truth[self.order].astype(float)
        ranked = scores[self.order]
        self.last = np.append(ranked[1:] != ranked[:-1], True)  # of those with equal scores, which come together

    def average_precision(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return AP (R,) of resamples that count sample n `weights[r, n]` times; nan where it cannot be had."""
        counted = weights[:, self.order]
        right, total = (counted * self.truth).cumsum(1)[:, self.last], counted.cumsum(1)[:, self.last]
        gained = np.diff(right, axis=1, prepend=0.0)
        area = (gained * np.divide(right, total, out=np.zeros_like(right), where=total > 0)).sum(1)
        some = (right[:, -1] > 0) & (right[:, -1] < total[:, -1])
        return np.divide(area, right[:, -1], out=np.full(len(area), np.nan), where=some)


def _averages(
    weights: NDArray[np.float64], given: NDArray[np.bool_], truth: NDArray[np.bool_], ranks: Sequence[_Ranking]
) -> dict[str, NDArray[np.float64]]:
    """Return the figures (R,) of resamples that count sample n `weights[r, n]` times; nan where they cannot be had."""
    hits, had, told = (weights @ some.astype(float) for some in (given & truth, truth, given))  # (R, K)
    f1 = np.divide(2 * hits, had + told, out=np.zeros_like(hits), where=had + told > 0)
    precisions = np.stack([one.average_precision(weights) for one in ranks], axis=1)
    answers = (had + told).sum(1)
    return {
        "mean_average_precision": _row_means(precisions, np.isfinite(precisions)),
        "macro_f1": _row_means(f1, had > 0),
        "micro_f1": np.divide(2 * hits.sum(1), answers, out=np.full(len(answers), np.nan), where=answers > 0),
    }


def _row_means(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean of what is known in each row, nan where nothing is."""
    counts = known.sum(1)
    sums = np.where(known, values, 0.0).sum(1)
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def _per_label(
    given: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    ranks: Sequence[_Ranking],
    thresholds: NDArray[np.float64],
    labels: Sequence[str],
) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for k, name in enumerate(labels):
        hits, had, told = int((given & truth)[:, k].sum()), int(truth[:, k].sum()), int(given[:, k].sum())
        area = float(ranks[k].average_precision(np.ones((1, len(truth))))[0])
        found[name] = {
            "support": had,
            "average_precision": area if np.isfinite(area) else None,
            "precision": hits / max(told, 1),
            "recall": hits / max(had, 1),
            "f1": 2 * hits / max(had + told, 1),
            "threshold": float(thresholds[k]),
        }
    return found


def _average_precisions(p: np.ndarray, y: np.ndarray) -> list[float | None]:
    from sklearn.metrics import average_precision_score

    return [
        float(average_precision_score(t, s)) if 0 < t.sum() < len(t) else None for t, s in zip(y.T, p.T, strict=True)
    ]


def _areas(p: np.ndarray, y: np.ndarray) -> list[float | None]:
    from sklearn.metrics import roc_auc_score

    return [float(roc_auc_score(t, s)) if 0 < t.sum() < len(t) else None for t, s in zip(y.T, p.T, strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
