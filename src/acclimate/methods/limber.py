"""LiMBeR: a linear map from a frozen image tower to a frozen language model, and nothing else, is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.generative import AnswerConfig
from acclimate.methods.parts.lessons import Visual
from acclimate.methods.parts.teaching import Teachable, cross_entropy
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import VISION_TOKENS, Inputs
from acclimate.training.recipe import Recipe, warm_cosine
from acclimate.training.stages import GradientStage

WARMUP = 0.1  # share of the training
EPOCHS = 10  # where nobody says otherwise


@dataclass(frozen=True, kw_only=True)
class LimberConfig(AnswerConfig, Recipe):
    """Settings; optimiser and its betas as in the released code of LiMBeR, whose rate is for 15,000 batches of 256."""

    by_step: ClassVar[bool] = True
    second_beta: ClassVar[float] = 0.95

    image_shape: Literal["square"] = option("square", "every image is made the same square", later=True)
    epochs: int | None = option(None, "passes over the training data; none: 10", low=1)
    batch_size: int = option(32, "images in a step", low=1)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the map")
    lr: float = option(8e-4, "peak learning rate", low=0.0)
    weight_decay: float = option(0.0, "weight decay", low=0.0)

    def learning_rate(self, epoch: float, epochs: int) -> float:
        """Learning rate at a moment, in epochs: a linear warm-up, then a cosine to zero."""
        return warm_cosine(self.lr, epoch, epochs, WARMUP * epochs, self.lr / 100)


@register
class Limber(Teachable):
    """LiMBeR: minimises -log p(answer | W v(x), question) over the linear map W of the patches v(x) of an image.

    The map is the connector of the backbone, which begins as it is there: of a composed backbone ("mini-clip+mini-vlm")
    drawn from a fixed seed, of another the one that it has. Image tower and language model stay frozen.
    Source: Merullo et al. 2023 (arXiv 2209.15162), section 3; as the base of Huang et al. 2024 (arXiv 2410.23698),
    sections 3.3 and 4.2.
    """

    name = "limber"
    title = "LiMBeR: a linear map to the language model"
    paper = "arXiv 2209.15162"
    learns = "the map from the patches of an image to the language model"
    default_backbone = "mini-clip+mini-vlm"
    inputs = Inputs({VISION_TOKENS})
    Config = LimberConfig
    config: LimberConfig

    @classmethod
    def inputs_of(cls, config: LimberConfig) -> Inputs:  # type: ignore[override]
        """Return what the map reads."""
        return cls.inputs

    def make(self) -> None:
        """Make the map."""
        self.map = self.backbone.learned_connector()

    def image_tokens(self, batch: Batch) -> Tensor:
        """Return what the language model sees of the images (B, T, D)."""
        return self.map(batch.vision_tokens)

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the only stage."""
        epochs = self.config.epochs or EPOCHS
        return [GradientStage(self.name, self.config, epochs, self.loss, list(self.map.parameters()), divisible=True)]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the answers."""
        logits = self.respond(batch, Visual(self.image_tokens(batch)))
        return {"cross_entropy": cross_entropy(logits, *self.responses(batch))}
