"""GDA: Gaussian discriminant analysis on frozen image features, with a covariance that is shrunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.errors import ConfigError
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.labeller import Labeller
from acclimate.methods.parts.scales import TwoScales, check_kind, input_of, scales, widths
from acclimate.methods.parts.scores import NEVER
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.feeds import AT_ONCE, Feed
from acclimate.training.inputs import POOLED, Inputs, tiled
from acclimate.training.recipe import Views
from acclimate.training.stages import SolverStage


@dataclass(frozen=True, kw_only=True)
class GDAConfig(TwoScales, Views):
    """Settings of GDA."""

    views: int = option(10, "augmented views that each image is learned from, where there is augmentation", low=1)
    crop_scale: float = option(0.5, "smallest share of the image's area in a random crop", low=0.01, high=1.0)

    def __post_init__(self) -> None:
        """Refuse random views of images that are read in tiles."""
        super().__post_init__()
        if self.augment != "none" and self.tiles != "none":
            raise ConfigError(
                f"augment={self.augment} draws views of whole images, and tiles={self.tiles} reads their tiles; use "
                "augment=none or tiles=none"
            )


@register
class GDA(Labeller):
    """Gaussian discriminant analysis: every class is a Gaussian, all with one covariance.

    With unit features x_i of N images or views, E wide, and the scatter S = sum_i (x_i - mu_{y_i}) (x_i - mu_{y_i})^T,

        logit_c(x) = mu_c^T P x - mu_c^T P mu_c / 2,    P = E (S + tr(S) / (N - 1) I)^-1

    P is the shrunk precision of Kubokawa and Srivastava, which has no parameter. All classes are equally probable
    beforehand, however many images they have. Where no class has two different images or views, S = 0 says nothing;
    the scatter around the mean of all images takes its place. Of labels, of which an image may have several, each is
    told by the two Gaussians of the images with it and without it: the difference of their logits.
    Source: Wang et al. 2024 (arXiv 2402.04087). There the logits are added to zero-shot
    ones with a weight chosen on all validation images; here they stand alone.
    """

    name = "gda"
    title = "Gaussian discriminant analysis at two scales"
    paper = "arXiv 2402.04087"
    learns = "per class: width of the features + 1 numbers, without gradient"
    inputs = Inputs({tiled(POOLED, 2)})
    serves_new_classes = False
    Config = GDAConfig
    config: GDAConfig
    weight: Tensor
    bias: Tensor

    @classmethod
    def inputs_of(cls, config: GDAConfig) -> Inputs:  # type: ignore[override]
        """Return the features that the settings ask for."""
        return Inputs({input_of(config, config.kind)})

    def make(self) -> None:
        """Make weights and biases, all zero."""
        check_kind(self.config, self.backbone)
        width = sum(widths(self.config, self.backbone.widths[self.config.kind]))
        classes, device = len(self.class_names), self.backbone.device
        self.register_buffer("weight", torch.zeros(classes, width, device=device))  # P mu (C, F)
        self.register_buffer("bias", torch.zeros(classes, device=device))  # (C,)

    def features(self, batch: Batch) -> Tensor:
        """Return what it reads of each image (B, F)."""
        return torch.cat(scales(batch, self.config, self.config.kind), dim=-1)

    def logits(self, batch: Batch) -> Tensor:
        """Return mu^T P x - mu^T P mu / 2 (B, C)."""
        return self.features(batch) @ self.weight.T + self.bias

    def stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the one pass over the training images."""
        return [SolverStage(self.name, self._solve)]

    def label_solvers(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the same."""
        return self.stages(facts)

    @torch.no_grad()
    def _solve(self, train: Feed, val: Feed | None) -> dict[str, float]:
        views: Sequence[int | None] = [None] if self.config.augment == "none" else range(self.config.views)
        parts = [train.batch(index, view) for view in views for index in torch.arange(len(train)).split(AT_ONCE)]
        x = torch.cat([self.features(part).double().cpu() for part in parts])
        y = torch.cat([part.labels for part in parts])
        weight, bias, within = label_discriminants(x, y) if self.apart else discriminant(x, y, len(self.class_names))
        self.weight.copy_(weight)
        self.bias.copy_(bias)
        return {"images": len(train), "views": len(views), "covariance": "within" if within else "total"}  # type: ignore[dict-item]


def discriminant(x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor, bool]:
    """Return weights P mu (C, F) and biases (C,), and whether the covariance is that within classes.

    Args:
        x: (N, F) features.
        y: (N,) classes.
        classes: C; those without features are never predicted.
    """
    counts = y.bincount(minlength=classes).to(x.dtype)
    means = torch.zeros(classes, x.shape[1], dtype=x.dtype).index_add_(0, y, x) / counts.clamp(min=1.0)[:, None]
    own = x - means[y]
    within = bool(own.abs().max() > 1e-6)  # features of float32 that are equal differ by no more
    own = own if within else x - x.mean(0)
    scatter = own.T @ own
    ridge = scatter.trace() / max(len(x) - 1, 1)
    if not ridge > 0:  # all features are equal: nothing tells classes apart
        ridge = torch.ones((), dtype=x.dtype)
    shrunk = scatter + ridge * torch.eye(len(scatter), dtype=x.dtype)
    weight = x.shape[1] * torch.linalg.solve(shrunk, means.T).T  # P mu
    bias = -0.5 * (weight * means).sum(-1)
    return weight, torch.where(counts > 0, bias, NEVER), within


def label_discriminants(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Return weights (K, F) and biases (K,) of labels, and whether every covariance is that within its two classes.

    Args:
        x: (N, F) features.
        y: (N, K) bool, which labels each of them has.
    """
    found = [discriminant(x, label.long(), 2) for label in y.T]
    weight = torch.stack([one[1] - one[0] for one, _, _ in found])
    bias = torch.stack([one[1] - one[0] for _, one, _ in found])
    return weight, bias.clamp(NEVER, -NEVER), all(within for _, _, within in found)
