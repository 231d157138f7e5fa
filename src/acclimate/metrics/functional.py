"""Classification metrics as plain numpy functions of probabilities or labels.

All take labels as integers `0..C-1`. `y` stands for the labels, `p` for the probabilities, `ŷ` for the class with the
highest probability (the first of several equal ones).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acclimate.errors import DataError

NLL_FLOOR = 1e-12
"""Probabilities below this count as this in the negative log-likelihood, so that one confident error stays finite."""
SUM_TOLERANCE = 1e-2
"""How far the probabilities of a sample may sum from 1; half precision needs some of it."""


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count samples by true class (rows) and predicted class (columns).

    Args:
        labels: `(N,)`.
        predictions: `(N,)`, integers in `0..classes-1`.
        classes: number of classes C.

    Returns:
        `(C, C)`.

    Raises:
        ValueError: a label out of range, or shapes that differ.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    y, guess = check_labels(labels, classes), check_labels(predictions, classes)
    if y.shape != guess.shape:
        raise ValueError(f"{y.size} labels, but {guess.size} predictions")
    return np.bincount(y * classes + guess, minlength=classes * classes).reshape(classes, classes)


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the fraction of samples with `ŷ = y`.

    Raises:
        DataError: there are no samples.

    >>> accuracy([0, 0, 1, 1], [0, 1, 1, 1])
    0.75
    """
    y, guess = np.asarray(labels), np.asarray(predictions)
    if y.shape != guess.shape:
        raise ValueError(f"{y.size} labels, but {guess.size} predictions")
    _need_samples(y.size)
    return float((y == guess).mean())


def balanced_accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the mean recall over the classes that occur in the labels, `1/|K| Σ_k TP_k / (TP_k + FN_k)`.

    Raises:
        DataError: there are no samples.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    matrix = _matrix(labels, predictions)
    support = matrix.sum(1)
    return float((np.diag(matrix) / np.maximum(support, 1))[support > 0].mean())


def macro_f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Return the mean of `F1_k = 2 TP_k / (2 TP_k + FP_k + FN_k)` over the classes that occur in the labels.

    A class that is only predicted, never true, lowers the score through the recall of the classes it takes samples
    from; it has no term of its own, since the data cannot tell how well it is found. A class that is never predicted
    scores 0.

    Raises:
        DataError: there are no samples.

    >>> round(macro_f1([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.7333
    """
    matrix = _matrix(labels, predictions)
    support, predicted = matrix.sum(1), matrix.sum(0)
    return float((2 * np.diag(matrix) / np.maximum(support + predicted, 1))[support > 0].mean())


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error of the predicted class (Guo et al. 2017, equation 3).

    `ECE = Σ_b |B_b| / N · |acc(B_b) - conf(B_b)|` with bins of equal width `((b-1)/M, b/M]` over the confidence
    `max_k p_k`.

    Args:
        probabilities: `(N, C)`, each row summing to 1.
        labels: `(N,)`.
        bins: number of bins M.

    Raises:
        DataError: there are no samples.
        ValueError: probabilities that are none, or a label out of range.

    >>> round(expected_calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 4)  # 80 % sure, 50 % right
    0.3
    """
    p = check_probabilities(probabilities)
    y = check_labels(labels, p.shape[1])
    index, gap = calibration_terms(p, y, bins)
    return float(np.abs(np.bincount(index, gap, minlength=bins)).sum() / len(y))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return `-1/N Σ_i ln max(p_i[y_i], 1e-12)`, in nats.

    Args:
        probabilities: `(N, C)`, each row summing to 1.
        labels: `(N,)`.

    Raises:
        DataError: there are no samples.
        ValueError: probabilities that are none, or a label out of range.

    >>> round(negative_log_likelihood([[0.5, 0.5], [0.25, 0.75]], [0, 1]), 4)
    0.4904
    """
    p = check_probabilities(probabilities)
    y = check_labels(labels, p.shape[1])
    return float(likelihood_terms(p, y).mean())


def check_probabilities(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities as float64 `(N, C)`.

    Raises:
        DataError: there are no samples.
        ValueError: not a matrix, not finite, outside 0..1, or a row whose sum is not 1 within `SUM_TOLERANCE`:
            calibration and likelihood have no meaning for scores, which a softmax turns into probabilities.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim >= 1:
        _need_samples(len(p))
    if p.ndim != 2 or p.shape[1] == 0:
        raise ValueError(f"probabilities must be (samples, classes), not {p.shape}")
    if not np.isfinite(p).all():
        row = int(np.flatnonzero(~np.isfinite(p).all(1))[0])
        raise ValueError(f"probabilities of sample {row} are not finite: {p[row].tolist()[:8]}")
    if p.min() < 0 or np.abs(p.sum(1) - 1).max() > SUM_TOLERANCE:
        row = int(np.argmax((p < 0).any(1) | (np.abs(p.sum(1) - 1) > SUM_TOLERANCE)))
        raise ValueError(f"probabilities of sample {row} are negative or do not sum to 1; pass them through a softmax")
    return p


def check_labels(labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Return labels as int64 `(N,)`.

    Raises:
        ValueError: not a vector of whole numbers in `0..classes-1`.
    """
    y = np.asarray(labels)
    if y.ndim != 1 or (y.size and not np.issubdtype(y.dtype, np.integer)):
        raise ValueError(f"labels must be a vector of integers, not {y.dtype} {y.shape}")
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(f"labels reach from {y.min()} to {y.max()}, outside 0..{classes - 1}")
    return y.astype(np.int64)


def calibration_terms(
    p: NDArray[np.float64], y: NDArray[np.int64], bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return per sample its bin of confidence, and `1[ŷ = y] - max_k p_k`, which sums to the error of its bin."""
    if bins < 1:
        raise ValueError(f"bins={bins} must be at least 1")
    if len(p) != len(y):
        raise ValueError(f"{len(y)} labels, but probabilities of {len(p)} samples")
    confidence = np.clip(p.max(1), 0.0, 1.0)
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1).astype(np.int64)
    return index, (p.argmax(1) == y).astype(np.float64) - confidence


def likelihood_terms(p: NDArray[np.float64], y: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return `-ln max(p[y], floor)` per sample."""
    if len(p) != len(y):
        raise ValueError(f"{len(y)} labels, but probabilities of {len(p)} samples")
    return -np.log(np.clip(p[np.arange(len(y)), y], NLL_FLOOR, 1.0))


def _matrix(labels: ArrayLike, predictions: ArrayLike) -> NDArray[np.int64]:
    y, guess = np.asarray(labels), np.asarray(predictions)
    _need_samples(y.size)
    return confusion_matrix(y, guess, int(max(y.max(), guess.max(initial=0))) + 1)


def _need_samples(count: int) -> None:
    if count == 0:
        raise DataError("there are no samples to evaluate; check the split and the domains that were chosen")
