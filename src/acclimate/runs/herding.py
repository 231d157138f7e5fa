"""Uncertainty herding: which images to label, so that those the model is unsure of have a labelled one near them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from acclimate.methods.parts.kernels import squared_distances

RADIUS = 0.5  # of the median distance of two images


def margin_uncertainty(probabilities: Tensor) -> Tensor:
    """Return 1 - (p_1 - p_2) (N,), of the two most probable of C classes (N, C): 0 is sure, 1 a guess; 0 with one."""
    if probabilities.shape[1] < 2:
        return probabilities.new_zeros(len(probabilities))
    best = probabilities.topk(2, dim=1).values
    return 1.0 - (best[:, 0] - best[:, 1])


def similarities(one: Tensor, other: Tensor, radius: float) -> Tensor:
    """Return exp(-|x - y|^2 / radius^2) (N, M) of points (N, F) and (M, F)."""
    return squared_distances(one, other).mul_(-1.0 / radius**2).exp_()


def kernel_radius(points: Tensor) -> float:
    """Return the radius of the kernel: half the median distance of two different points, 1 where there is none."""
    apart = torch.pdist(points)
    return RADIUS * (float(apart.median()) if len(apart) else 0.0) or 1.0


def herd(
    points: Tensor,
    weights: Tensor,
    labelled: Sequence[int],
    radius: float,
    refused: Callable[[int, Sequence[int]], bool] = lambda candidate, chosen: False,
) -> Iterator[int]:
    """Yield rows in the order in which they should be labelled.

    Each is the one that adds most to the uncertainty coverage of what is labelled or chosen already,

        C(S) = sum_x u(x) max_{s in S} k(x, s),    k(x, s) = exp(-|x - s|^2 / radius^2),

    which is submodular, so that the greedy choice reaches at least 1 - 1/e of the best. Uncertain, typical images come
    first; what is near a labelled or chosen one adds little. Among equals the first row is chosen.
    Source: Bae, Oliveira and Sutherland 2025 (ICLR, arXiv 2412.20644), uncertainty coverage and its greedy choice.

    Args:
        points: (N, F), features.
        weights: (N,) u, 0 or more.
        labelled: rows whose labels are known.
        radius: of the kernel.
        refused: whether a row is passed over, told the rows that were chosen before.
    """
    kernel = similarities(points, points, radius)
    covered = kernel[:, list(labelled)].amax(1) if labelled else kernel.new_zeros(len(kernel))
    free = torch.ones(len(points), dtype=torch.bool)
    free[list(labelled)] = False
    chosen: list[int] = []
    while free.any():
        gains = weights @ (kernel - covered[:, None]).clamp_(min=0.0)
        best = int(torch.where(free, gains, -1.0).argmax())
        free[best] = False
        if refused(best, chosen):
            continue
        chosen.append(best)
        covered = torch.maximum(covered, kernel[:, best])
        yield best
