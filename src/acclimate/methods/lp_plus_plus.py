"""LP++: a linear probe blended with the text directions, class by class, with step sizes that need no search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.capabilities import Classifier
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.plain import PlainForm
from acclimate.methods.parts.scores import NEVER
from acclimate.methods.parts.text import text_directions
from acclimate.methods.registry import register
from acclimate.options import Checked, option
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, chunks
from acclimate.training.stages import SolverStage

PER_SCALE = 2.5  # first multiplier by logit scale and mean cosine: the published 250 at a scale of 100
MOMENTUM = 0.9  # of the released code, on weights and biases
EVERY = 10  # steps of the released code between two of the multipliers


@dataclass(frozen=True, kw_only=True)
class LPPlusPlusConfig(Checked):
    """Settings of LP++; the defaults are the one recipe that its paper uses for all data."""

    variant: Literal["corrected", "released"] = option(
        "corrected",
        "corrected: steps by which the loss never rises; released: the steps of the released code, with momentum and "
        "with gradients of the multipliers that add up",
    )
    steps: int = option(300, "steps over all training images", low=1)
    ensemble: bool = option(False, "average the directions of all templates of the domain instead of using one")


@register
class LPPlusPlus(Classifier):
    """Linear probe whose classes are blends of what images and text say, by a learned multiplier for each class.

    Minimises the cross-entropy of p(c|x) = softmax_c(x . (w_c + alpha_c t_c)) over vectors w and multipliers alpha,
    with unit features x of N images and unit text directions t. Blocks take turns, each by the minimum of a quadratic
    function that lies above the loss and touches it where the step begins, so the loss never rises:

        w_c     <- w_c - (2 N / largest eigenvalue of sum_i x_i x_i^T) dL/dw_c
        alpha_c <- alpha_c - (2 N / sum_i (x_i . t_c)^2) dL/dalpha_c

    since the second derivative of the cross-entropy by the logits of an image is at most 1/2. Starts from
    w_c = mean_{i in c} x_i and alpha_c = 2.5 s mean_k mean_{i in k} x_i . t_k, s the backbone's logit scale. No
    validation images, one recipe for all data.
    Source: Huang et al. 2024 (arXiv 2404.02285); start and number of steps as released, where s = 100.
    """

    name = "lp++"
    title = "Linear probe blended with text, with steps that need no search"
    paper = "arXiv 2404.02285"
    learns = "per class: joint width + 1 numbers"
    serves_new_classes = False
    Config = LPPlusPlusConfig
    config: LPPlusPlusConfig
    weight: Tensor
    bias: Tensor

    def make(self) -> None:
        """Make the blended directions, all zero: a row of zeros is a class without images. Biases as released."""
        shape, device = (len(self.class_names), self.backbone.embed_dim), self.backbone.device
        self.register_buffer("weight", torch.zeros(shape, device=device))  # w + alpha t (C, E)
        if self.config.variant == "released":
            self.register_buffer("bias", torch.zeros(shape[0], device=device))  # (C,)

    def logits(self, batch: Batch) -> Tensor:
        """Return x . (w + alpha t) (B, C); a class without images is never predicted."""
        with torch.autocast(self.weight.device.type, enabled=False):
            logits = F.linear(_directions(batch), self.weight, getattr(self, "bias", None))
        return torch.where(self.weight.any(dim=-1), logits, NEVER)

    def plain_form(self) -> PlainForm:
        """Return the blends, with a bias that keeps classes without images from being predicted."""
        bias = getattr(self, "bias", torch.zeros_like(self.weight[:, 0]))
        return PlainForm(self.weight, 1.0, torch.where(self.weight.any(dim=-1), bias, NEVER))

    def stages(self, facts: TrainingFacts) -> Sequence[SolverStage]:
        """Return the one convex problem."""
        return [SolverStage(self.name, self._solve)]

    def _text(self) -> Tensor:
        return text_directions(self.backbone, self.prompts, self.class_names, self.config.ensemble)

    @torch.no_grad()
    def _solve(self, train: Feed, val: Feed | None) -> dict[str, float]:
        x = torch.cat([_directions(batch).double().cpu() for batch in chunks(train)])
        present, y = train.labels.cpu().unique(return_inverse=True)
        blend = Blend(x, y, self._text().double().cpu()[present], self.backbone.logit_scale)
        first = float(blend.loss())
        descend = blend.majorise if self.config.variant == "corrected" else blend.as_released
        descend(self.config.steps)
        self.weight[present.to(self.weight.device)] = blend.directions.to(self.weight)
        if self.config.variant == "released":
            self.bias[present.to(self.bias.device)] = blend.bias.to(self.bias)
        figures = {"first_loss": first, "loss": float(blend.loss()), "images": len(train)}
        return figures | {"least_multiplier": float(blend.alpha.min()), "largest_multiplier": float(blend.alpha.max())}


def _directions(batch: Batch) -> Tensor:
    return F.normalize(batch.image_features.float(), dim=-1)


class Blend:
    """The problem of LP++ and where its solution stands.

    Args:
        x: (N, E) unit features.
        y: (N,) classes, each of which has an image.
        text: (C, E) unit text directions.
        scale: the backbone's logit scale s.

    Attributes:
        w: (C, E) what images say of the classes; at first their means.
        alpha: (C,) multipliers of the text.
        bias: (C,) zero, but in the released code.
    """

    def __init__(self, x: Tensor, y: Tensor, text: Tensor, scale: float) -> None:
        self.x, self.y, self.text = x, y, text
        self.targets = F.one_hot(y, len(text)).to(x.dtype)  # (N, C)
        self.cosines = x @ text.T  # (N, C)
        self.w = self.targets.T @ x / self.targets.sum(0)[:, None]
        own = (self.w * text).sum(-1)  # mean cosine of the images of a class with its text
        self.alpha = (PER_SCALE * scale * own.mean()).expand(len(text)).clone()
        self.bias = torch.zeros_like(self.alpha)

    @property
    def directions(self) -> Tensor:
        """The blends w + alpha t (C, E)."""
        return self.w + self.alpha[:, None] * self.text

    def logits(self) -> Tensor:
        """Return x . (w + alpha t) + b (N, C)."""
        return self.x @ self.w.T + self.alpha * self.cosines + self.bias

    def loss(self) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(self.logits(), self.y)

    def residuals(self) -> Tensor:
        """Return the gradient (N, C) of the loss by the logits."""
        return (self.logits().softmax(-1) - self.targets) / len(self.y)

    def curvatures(self) -> tuple[Tensor, Tensor]:
        """Return bounds of the second derivatives of the loss by w, and by each alpha (C,)."""
        largest = torch.linalg.eigvalsh(self._smaller_gram())[-1]
        return largest / (2 * len(self.y)), self.cosines.square().sum(0) / (2 * len(self.y))

    def _smaller_gram(self) -> Tensor:
        """Return sum_i x_i x_i^T or the cosines of images, which have the same largest eigenvalue."""
        return self.x @ self.x.T if len(self.x) < self.x.shape[1] else self.x.T @ self.x

    def majorise(self, steps: int) -> None:
        """Take so many steps of both blocks, by which the loss never rises."""
        of_w, of_alpha = self.curvatures()
        for _ in range(steps):
            self.w = self.w - self.residuals().T @ self.x / of_w
            self.alpha = self.alpha - (self.residuals() * self.cosines).sum(0) / of_alpha.clamp(min=1e-12)

    def as_released(self, steps: int) -> None:
        """Take the steps of the released code, without its choice of a step on validation images."""
        n = len(self.y)
        rate = 4 * n / torch.linalg.eigvalsh(self._smaller_gram())[-1]
        rate_alpha = n / (4 * self.cosines.square().sum(0).max())
        speed, bias_speed, gathered = torch.zeros_like(self.w), torch.zeros_like(self.bias), torch.zeros_like(self.bias)
        for step in range(1, steps + 1):
            residuals = self.residuals()
            speed = MOMENTUM * speed + residuals.T @ self.x
            bias_speed = MOMENTUM * bias_speed + residuals.sum(0)
            gathered = gathered + (residuals * self.cosines).sum(0)
            self.w, self.bias = self.w - rate * speed, self.bias - rate * bias_speed
            if step % EVERY == 0:
                self.alpha = self.alpha - rate_alpha * gathered
