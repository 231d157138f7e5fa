"""CLAP: ZS-LP whose weights are held near the text directions, class by class as strongly as zero-shot is right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.methods.registry import register
from acclimate.methods.zs_lp import ZeroShotProbe, ZeroShotProbeConfig
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, chunks


@dataclass(frozen=True, kw_only=True)
class ClapConfig(ZeroShotProbeConfig):
    """Settings of CLAP; the defaults are those of its one published configuration."""

    constraint: float = option(1.0, "factor of all multipliers; 0 is ZS-LP", low=0.0)


@register
class Clap(ZeroShotProbe):
    """Class-adaptive linear probe.

    Minimises cross-entropy + mean_c lambda_c |w_c - l t_c|^2. The multiplier of a class is the mean probability that
    zero-shot classification gives it on its own training images, lambda_c = mean_{i in c} softmax_c(s cos(x_i, t)): a
    class that the text describes well is held tightly. The multipliers stay as they are during training.
    Source: Silva-Rodriguez et al. 2024 (arXiv 2312.12730), the class-adaptive constraint, in which this one estimate on
    the training images replaces the outer loop of an augmented Lagrangian; the mean over classes is as released.
    """

    name = "clap"
    title = "Class-adaptive linear probe"
    learns = "per class: joint width + 1 numbers"
    Config = ClapConfig
    config: ClapConfig
    multipliers: Tensor

    def make(self) -> None:
        """Make weights and multipliers."""
        super().make()
        self.register_buffer("multipliers", torch.zeros(len(self.class_names), device=self.backbone.device))  # (C,)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and the weighted constraint."""
        distances = (self.weight - self.anchors).square().sum(dim=-1)  # (C,)
        constraint = (self.multipliers * distances).mean()
        return super().loss(batch) | {"constraint": self.config.constraint * constraint}

    @torch.no_grad()
    def _look(self, train: Feed, val: Feed | None) -> dict[str, float]:
        sums, counts = torch.zeros_like(self.multipliers), torch.zeros_like(self.multipliers)
        for chunk in chunks(train, 1024):
            batch = chunk.to(sums.device)
            own = self.similarities(batch, self.text).softmax(dim=-1).gather(1, batch.labels[:, None])[:, 0]
            sums.index_add_(0, batch.labels, own)
            counts.index_add_(0, batch.labels, torch.ones_like(own))
        self.multipliers.copy_(sums / counts.clamp(min=1))  # 0 without images: nothing is learned, nothing to hold
        return super()._look(train, val) | {"mean_multiplier": float(self.multipliers[counts > 0].mean())}
