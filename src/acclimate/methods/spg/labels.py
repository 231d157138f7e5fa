"""Prompt labels: what CoOp learns on each domain, in the scale in which the networks see it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class PromptLabels(nn.Module):
    """The prompt label of every source domain (M, n, D).

    Standardised, a prompt p is seen as (p - m) / s with the mean label m (n, D) and s, the root mean square of what the
    labels deviate from it; where there is one label, that of its own numbers. Raw, it is seen as it is.

    Args:
        values: (M, n, D).
        scale: "standardised" or "raw".
    """

    values: Tensor

    def __init__(self, values: Tensor, scale: Literal["standardised", "raw"]) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("values", values)

    @property
    def mean(self) -> Tensor:
        """The mean label m (n, D)."""
        return self.values.mean(dim=0)

    @property
    def spread(self) -> Tensor:
        """Root mean square of what the labels deviate from their mean; that of the label where there is but one."""
        deviations = self.values - self.mean if len(self.values) > 1 else self.values
        return deviations.square().mean().sqrt().clamp(min=1e-6)

    @property
    def units(self) -> Tensor:
        """The labels as the networks see them (M, n D)."""
        seen = self.values if self.scale == "raw" else (self.values - self.mean) / self.spread
        return seen.flatten(1)

    def prompts(self, units: Tensor) -> Tensor:
        """Return prompts (B, n, D) of what the networks give (B, n D)."""
        shaped = units.unflatten(1, self.values.shape[1:])
        return shaped if self.scale == "raw" else self.mean + self.spread * shaped


def root_mean_square(values: Tensor) -> float:
    """Return the root mean square of all numbers."""
    return float(torch.linalg.vector_norm(values.float()) / values.numel() ** 0.5)
