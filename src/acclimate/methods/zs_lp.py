"""ZS-LP: a linear classifier on frozen image features that starts from the text directions of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.class_rows import ClassRows
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.feeds import Feed
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage, SolverStage, Stage


@dataclass(frozen=True, kw_only=True)
class ZeroShotProbeConfig(Recipe):
    """Settings of ZS-LP; the defaults are those of its one published configuration."""

    batch_size: int = option(256, "images in a step", low=1)
    lr: float = option(0.1, "learning rate after warm-up", low=0.0)
    weight_decay: float = option(0.0, "weight decay", low=0.0)
    views: int = option(20, "augmented views cached per image; 0 draws a fresh view in every step", low=0)
    ensemble: bool = option(False, "start from the average of all templates of the domain instead of from one")
    initial_length: Literal["scale", "text", "unit"] = option(
        "scale",
        "length of the first weights, which decides how far a step turns them; scale: the square root of the logit "
        "scale; text: that of the text features, as in the released code; unit: 1",
    )


@register
class ZeroShotProbe(ClassRows):
    """Zero-shot initialised linear probe.

    Minimises the cross-entropy of p(c|x) = softmax_c(s cos(x, w_c)) over the weights w, which start from the text
    directions: w_c = l t_c. No bias, no validation images, one recipe for all data.
    Source: Silva-Rodriguez et al. 2024 (arXiv 2312.12730), the revisited linear probe; recipe of the released code: SGD
    with momentum 0.9, learning rate 0.1 with cosine decay after one epoch at 1e-5, batches of 256, 300 epochs. There l
    is the length of CLIP's text features, about 10, and s = 100. A step turns w_c by an angle in proportion to s / l^2;
    l = sqrt(s) keeps that ratio for every backbone.
    """

    name = "zs-lp"
    title = "Zero-shot initialised linear probe"
    paper = "arXiv 2312.12730"
    learns = "per class: joint width numbers"
    Config = ZeroShotProbeConfig
    config: ZeroShotProbeConfig
    anchors: Tensor

    def make(self) -> None:
        """Start the weights from the text directions of the classes."""
        self.weight = nn.Parameter(self._start().clone())  # (C, E)

    def set_classes(self) -> None:
        """Encode the sentences of the classes."""
        super().set_classes()
        self.register_buffer("anchors", self._start(), persistent=False)  # l t (C, E)

    @torch.no_grad()
    def _start(self) -> Tensor:
        return self._length() * self.text_directions()

    def _length(self) -> float | Tensor:
        if self.config.initial_length == "text":
            features = self.backbone.encode_text(self.prompts.sentences(self.class_names))
            return features.float().norm(dim=-1, keepdim=True)
        return self.backbone.logit_scale**0.5 if self.config.initial_length == "scale" else 1.0

    def class_directions(self) -> Tensor:
        """Return norm(w) (C, E), the text direction of classes without training images."""
        rows = self.bound_rows(self.weight)
        return F.normalize(torch.where(rows.any(dim=-1, keepdim=True), rows, self.anchors), dim=-1)

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return a look at the training images, and the descent."""
        epochs = self.config.epochs or 300
        return [
            SolverStage(f"{self.name}: classes", self._look),
            GradientStage(self.name, self.config, epochs, self.loss, list(self.parameters()), divisible=True),
        ]

    def _look(self, train: Feed, val: Feed | None) -> dict[str, float]:
        """Mark the classes without training images by rows of zeros, which get no gradient and stay zeros."""
        seen = train.labels.bincount(minlength=len(self.class_names)) > 0
        with torch.no_grad():
            self.weight.mul_(seen[:, None].to(self.weight.device))
        return {"classes_with_images": int(seen.sum())}
