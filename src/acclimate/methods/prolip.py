"""ProLIP: the vision projection alone is fine-tuned, and held close to where it started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.plain import PlainForm
from acclimate.methods.parts.text import TemplateClassifier
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import Inputs
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage


@dataclass(frozen=True, kw_only=True)
class ProLIPConfig(Recipe):
    """Settings of ProLIP; the defaults are those of its validation-free recipe."""

    epochs: int | None = option(None, "passes over the training images; none: 300, as published", low=1)
    batch_size: int = option(0, "images in a step; 0: all at once, as published", low=0)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser; adamw without weight decay is the published Adam")
    lr: float = option(1e-5, "learning rate; the paper also reports 1e-4, 1e-3 and 1e-2", low=0.0)
    weight_decay: float = option(0.0, "weight decay of the change of the projection, not of the projection", low=0.0)
    epsilon: float = option(1e-4, "term that AdamW adds to the denominator", low=0.0)
    warmup_epochs: int = option(0, "epochs of warm-up before the cosine", low=0)
    crop_scale: float = option(0.5, "smallest share of the image's area in a random crop", low=0.01, high=1.0)
    regularisation: float | None = option(
        None, "weight lambda of the pull towards the pretrained projection; none: 1/N for N shots", low=0.0
    )


@register
class ProLIP(TemplateClassifier):
    """Projection fine-tuning with a zero-shot regulariser.

    x = W h with the pooled token h of the frozen image tower, logits = s cos(W h, w_c) with the frozen directions w_c
    of the domain template. Minimises cross-entropy + lambda ||W - W0||_F^2 (a sum over the entries) over W (E, Dv),
    lambda = 1/N for N shots. What is learned and saved is D = W - W0, zero at the start: the pretrained W0 stays in the
    backbone, and the pull is towards D = 0. SigLIP projects inside its pooling head; there W0 is the identity.
    Source: Fahes et al. 2024 (arXiv 2410.05270), section 3; validation-free recipe of section 4.
    """

    name = "prolip"
    title = "ProLIP: fine-tuned vision projection"
    paper = "arXiv 2410.05270"
    learns = "the vision projection: joint width x vision width numbers"
    inputs = Inputs({"pooled_features"})
    Config = ProLIPConfig
    config: ProLIPConfig
    pretrained: Tensor

    def make(self) -> None:
        """Make D, the same for all classes."""
        pretrained = self.backbone.vision_projection.detach().float()  # W0 (E, Dv)
        self.register_buffer("pretrained", pretrained, persistent=False)
        self.change = nn.Parameter(torch.zeros_like(self.pretrained))  # D (E, Dv)
        self.strength = 1.0 if self.config.regularisation is None else self.config.regularisation

    def prepare(self, facts: TrainingFacts) -> None:
        """Set lambda by the number of shots, unless the settings give it."""
        if self.config.regularisation is None:
            self.strength = 1.0 / facts.shots

    def image_directions(self, batch: Batch) -> Tensor:
        """Return norm((W0 + D) h) (B, E)."""
        return F.normalize(batch.pooled_features.float() @ (self.pretrained + self.change).T, dim=-1)

    def plain_form(self) -> PlainForm | None:
        """Return the directions of the classes, and the projection where the family has one."""
        is_weight = isinstance(self.backbone.vision_projection, nn.Parameter)  # SigLIP's is the identity, and none
        return self.plain(projection=self.pretrained + self.change) if is_weight else None

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and lambda ||W - W0||^2."""
        return super().loss(batch) | {"regularisation": self.strength * self.change.square().sum()}

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns the projection."""
        config = self.config
        recipe = replace(config, batch_size=config.batch_size or facts.images)
        return [GradientStage(self.name, recipe, config.epochs or 300, self.loss, [self.change], divisible=True)]
