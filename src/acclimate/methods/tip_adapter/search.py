"""The choice of Tip-Adapter's two factors: every pair of a grid, judged on labelled queries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GRID = tuple(0.1 * 300.0 ** (step / 29) for step in range(30))  # 0.1 ... 30, the widest range of the released settings
BUDGET = 2**22  # logits held at once


def evidence(affinity: Tensor, values: Tensor, beta: Tensor | float) -> Tensor:
    """Return exp(-beta (1 - affinity)) values: (B, C) from affinities (B, M) to the keys and their classes (M, C)."""
    return torch.exp(-beta * (1.0 - affinity)) @ values


@dataclass(frozen=True)
class Choice:
    """The pair that is used, and the share of queries that it gets right where it was searched for."""

    alpha: float
    beta: float
    accuracy: float | None = None


@torch.no_grad()
def search(
    queries: Tensor, labels: Tensor, text: Tensor, keys: Tensor, values: Tensor, *, own: Tensor | None = None
) -> Choice:
    """Choose alpha and beta: highest accuracy, then lowest cross-entropy, then smallest beta and alpha.

    Args:
        queries: (Q, E) unit vectors.
        labels: (Q,) their classes.
        text: (Q, C) their logits without the cache.
        keys: (M, E) unit vectors.
        values: (M, C) one-hot classes of the keys.
        own: (Q,) for leave-one-out, the key that each query made. It is left out, and what its class has left counts
            N / (N - 1) times, since the other classes still have all of their N images.
    """
    grid = torch.tensor(GRID, device=keys.device)
    hits = torch.zeros(len(grid), len(grid), dtype=torch.long, device=keys.device)  # (beta, alpha)
    losses = torch.zeros(len(grid), len(grid), dtype=torch.float64, device=keys.device)
    size = max(1, BUDGET // (len(grid) * values.shape[1]))
    for rows in torch.arange(len(queries), device=keys.device).split(size):
        y, affinity = labels[rows], queries[rows] @ keys.T  # (b, M), once for the whole grid
        weight = torch.ones_like(text[rows])
        if own is not None:
            affinity[torch.arange(len(rows)), own[rows]] = -torch.inf
            count = values.sum(dim=0)[y]
            weight[torch.arange(len(rows)), y] = count / (count - 1.0)
        for place, beta in enumerate(grid):
            cached = weight * evidence(affinity, values, beta)
            logits = text[rows] + grid[:, None, None] * cached  # (alpha, b, C)
            right = logits[..., torch.arange(len(rows)), y]  # (alpha, b)
            hits[place] += (logits.argmax(dim=-1) == y).sum(dim=-1)
            losses[place] += (logits.logsumexp(dim=-1) - right).double().sum(dim=-1)
    best = int(torch.where(hits == hits.max(), losses, torch.inf).argmin())
    beta, alpha = divmod(best, len(grid))
    return Choice(GRID[alpha], GRID[beta], int(hits.max()) / len(queries))
