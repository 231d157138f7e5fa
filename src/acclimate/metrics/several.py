"""Figures of images with several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from acclimate.errors import DataError


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
