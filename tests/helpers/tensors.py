"""Tensors for tests, and how near two must be."""

from __future__ import annotations

import torch


def noise(*shape, seed=0, scale=1.0):
    """Reproducible normal numbers that want a gradient."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).requires_grad_()


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)
