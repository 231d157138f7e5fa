"""Ensembles: how much each of several classifiers counts, by what they say of images left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 40  # most steps of the greedy selection, each of which adds a part once ...
IMAGES = 10  # ... and one step for so many images: fewer tell chance from merit no more
GAIN = 0.01  # nats by which a step must lower the log loss
TEMPERATURES = tuple(0.1 * 1.2**step for step in range(27))  # 0.1 ... 11.4


def log_loss(scores: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of the mean of -log p(y|x) over the images of the class, in nats.

    Args:
        scores: (N, C) log-probabilities.
        labels: (N,) classes y.
    """
    own = -scores.gather(1, labels[:, None])[:, 0].clamp(min=-20.0)  # one wrong image that was sure decides little
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    return float((own / counts[place]).sum() / len(counts))


def temperature(scores: Tensor, labels: Tensor) -> float:
    """Return the T of `TEMPERATURES` for which softmax(scores / T) has the least log loss.

    Args:
        scores: (N, C) logits.
        labels: (N,) classes.
    """
    losses = [log_loss((scores / value).log_softmax(-1), labels) for value in TEMPERATURES]
    return TEMPERATURES[int(torch.tensor(losses).argmin())]


def fuse(scores: Tensor, weights: Tensor) -> Tensor:
    """Return log sum_k w_k p_k(c|x) (N, C) of log p_k(c|x) (K, N, C) and weights (K,) that sum to 1."""
    used = weights > 0
    return mix(scores[used], weights[used])


def mix(scores: Tensor, weights: Tensor) -> Tensor:
    """Return what `fuse` does, of weights (K,) that are all above 0."""
    return (scores + weights.log()[:, None, None]).logsumexp(0)


def select(scores: Tensor, labels: Tensor, first: Sequence[float]) -> Tensor:
    """Return the weights (K,) of K classifiers, by greedy forward selection with replacement.

    The ensemble begins as a multiset of classifiers; each step adds the one with which the mean probability has the
    least log loss, until none lowers it noticeably, or as many steps are done as the images allow.
    Source: Caruana et al. 2004, "Ensemble selection from libraries of models" (ICML), sections 2.1 to 2.3.

    Args:
        scores: (K, N, C) log-probabilities of images that the classifiers have not learned from.
        labels: (N,) classes.
        first: (K,) how often each is in it at the beginning, at least one of them.
    """
    counts = torch.tensor(first, dtype=scores.dtype)
    best = log_loss(fuse(scores, counts / counts.sum()), labels)
    for _ in range(min(ROUNDS, len(labels) // IMAGES)):
        tried = [counts + step for step in torch.eye(len(counts), dtype=counts.dtype)]
        losses = [log_loss(fuse(scores, some / some.sum()), labels) for some in tried]
        place = int(torch.tensor(losses).argmin())
        if losses[place] > best - GAIN:
            break
        counts, best = tried[place], losses[place]
    return counts / counts.sum()
