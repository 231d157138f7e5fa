"""From what is said of images that were not learned from to a probability, and a threshold, of each label."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ENOUGH = 8  # images with a label, and without it, from which on it has a threshold of its own
LEAST_SLOPE = 1e-3  # per standard deviation of the scores: a probability never falls with its score


def calibrate(scores: Tensor, truth: Tensor, told: Tensor) -> tuple[float, Tensor]:
    """Return a > 0 and b (K,) of p_k = sigmoid(a s_k + b_k) with the least log loss, in which no answer is certain.

    All labels share a, so that a few images of each are enough; each has its own b, or the mean of the others where
    nothing is told of it. Right answers count as (N_k + 1) / (N_k + 2) and 1 / (M_k + 2), of N_k images with a label
    and M_k without it.
    Source: Platt 1999, "Probabilistic outputs for support vector machines", section 2.2, for one label.

    Args:
        scores: (N, K) s.
        truth: (N, K) bool.
        told: (N, K) bool, which of them count.
    """
    from scipy.optimize import minimize

    s, y, counted = (one.double().numpy() for one in (scores, truth, told))
    having, lacking = (counted * y).sum(0), (counted * (1 - y)).sum(0)
    known = (having > 0) & (lacking > 0)
    if not known.any():
        return 1.0, torch.zeros(len(known))
    s, y, counted = s[:, known], y[:, known], counted[:, known]
    spread = float(np.sqrt((counted * s**2).sum() / counted.sum())) or 1.0
    s = np.where(counted > 0, s / spread, 0.0)
    aim = np.where(y > 0, (having[known] + 1) / (having[known] + 2), 1 / (lacking[known] + 2))

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = at[0] * s + at[1:]
        off = counted * (1 / (1 + np.exp(-z.clip(-500, 500))) - aim)
        total = float((counted * (np.logaddexp(0, z) - aim * z)).sum())
        return total, np.concatenate([[(off * s).sum()], off.sum(0)])

    start = np.concatenate([[1.0], np.zeros(int(known.sum()))])
    bounds = [(LEAST_SLOPE, None), *[(None, None)] * int(known.sum())]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000}).x
    offsets = np.full(len(known), found[1:].mean())
    offsets[known] = found[1:]
    return float(found[0] / spread), torch.from_numpy(offsets)


def best_threshold(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the threshold at and above which a label is given with the highest F1, 2 TP / (2 TP + FP + FN).

    It lies in the middle between two probabilities; of several, the one that is nearest to one half.

    Args:
        probabilities: (N,) of the label, above 0.
        truth: (N,), at least one true.

    >>> best_threshold(np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, True, False, False]))
    0.5
    """
    order = (-probabilities).argsort(kind="stable")
    p, right = probabilities[order], truth[order].cumsum()
    lower = np.append(p[1:], 0.0)
    f1 = np.where(p > lower, 2 * right / (np.arange(1, len(p) + 1) + truth.sum()), -1.0)
    middles = (p + lower) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middles[best[np.abs(middles[best] - 0.5).argmin()]])


def choose_thresholds(probabilities: Tensor, truth: Tensor, told: Tensor) -> Tensor:
    """Return a threshold of each label (K,): its own, see `best_threshold`, or that of all labels together.

    Args:
        probabilities: (N, K).
        truth: (N, K) bool.
        told: (N, K) bool, which of them count.
    """
    p, y, counted = probabilities.double().numpy(), truth.numpy(), told.numpy()
    common = best_threshold(p[counted], y[counted]) if (y & counted).any() else 0.5
    found = torch.full((p.shape[1],), common, dtype=torch.float64)
    for number, (own, labels, rows) in enumerate(zip(p.T, y.T, counted.T, strict=True)):
        if min((labels & rows).sum(), (~labels & rows).sum()) >= ENOUGH:
            found[number] = best_threshold(own[rows], labels[rows])
    return found
