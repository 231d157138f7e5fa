"""Gaussian kernels of points in several spaces, and the distances that they are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squared_distances(one: Tensor, other: Tensor) -> Tensor:
    """Return |x - y|^2 (N, M) of points (N, F) and (M, F)."""
    square = (one**2).sum(-1)[:, None] + (other**2).sum(-1) - 2.0 * one @ other.T
    return square.clamp(min=0.0)


def usual_distance(square: Tensor) -> float:
    """Return the median squared distance (N, N) of two different points, 1 where there is none."""
    apart = square[~torch.eye(len(square), dtype=torch.bool, device=square.device)]
    return (float(apart.median()) if len(apart) else 0.0) or 1.0


def kernel_of(
    one: Sequence[Tensor], other: Sequence[Tensor], betas: Sequence[float], shares: Sequence[float]
) -> Tensor:
    """Return sum_k mu_k exp(-beta_k |x_k - y_k|^2) (N, M) of points (N, F_k) and (M, F_k) in several spaces k."""
    kernel = one[0].new_zeros(one[0].shape[0], other[0].shape[0])
    for x, y, beta, share in zip(one, other, betas, shares, strict=True):
        if share:
            kernel += share * torch.exp(-beta * squared_distances(x, y))
    return kernel
