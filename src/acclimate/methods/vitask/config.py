"""Settings of instruction tuning and of VITask; each decision that the paper leaves open is one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from acclimate.errors import ConfigError
from acclimate.methods.parts.generative import AnswerConfig
from acclimate.options import option
from acclimate.training.recipe import Recipe, warm_cosine

WARMUP = 0.03  # share of a stage, as in the second-stage recipe of InternVL 2
FIRST = 0.1  # share of the rate that a stage begins with: from nothing, a stage of one step would learn nothing
STEPS = 120  # of both stages together, in a training whose length nobody chose, or more where there are many classes
LEAST_EPOCHS, MOST_EPOCHS = 2, 100


@dataclass(frozen=True, kw_only=True)
class TuningConfig(AnswerConfig, Recipe):
    """Settings of instruction tuning; those of the low-rank adapter after the second-stage recipe of InternVL 2."""

    by_step: ClassVar[bool] = True

    rank: int = option(16, "rank r of the changes of the language model's linear layers", low=1)
    alpha: float = option(32.0, "strength of the changes, before the division by the rank", low=0.0)
    dropout: float = option(0.05, "chance that an input of a change is dropped in training", low=0.0, high=0.99)
    epochs: int | None = option(
        None,
        "passes over the training images, both stages together; none: as many as make 120 steps, or `class_steps` for "
        "each class where that is more, 2 to 100",
        low=2,
    )
    class_steps: int = option(48, "steps for each class, where `epochs` names no length", low=0)
    batch_size: int = option(8, "images in a step", low=1)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the learned parameters")
    lr: float = option(3e-3, "peak learning rate; 4e-5 is that of the recipe for models of billions", low=0.0)
    weight_decay: float = option(0.01, "weight decay", low=0.0)
    warmup_epochs: int = option(0, "epochs of warm-up of a stage, half of them at most; 0: 3 % of them", low=0)
    warmup: Literal["constant", "linear"] = option("linear", "shape of the warm-up")
    warmup_lr: float = option(0.0, "learning rate at the start of a stage; 0: a tenth of `lr`", low=0.0)
    vlm_connector: Literal["frozen", "trained"] = option(
        "frozen", "whether the backbone's own connector is learned too, a copy of it; a control", later=True
    )
    vlm_connector_rate: float = option(
        0.1, "its learning rate as a multiple of `lr`; 0.1 is that of LLaVA 1.5 beside LoRA", low=0.0, later=True
    )
    second_stage: float = option(0.5, "share of the epochs that belongs to the second stage", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        """Refuse what images in their own shapes do not have.

        Raises:
            ConfigError: random views, or vision tokens for a connector that is learned, are asked for.
        """
        super().__post_init__()
        if self.image_shape == "own" and (self.augment != "none" or self.vlm_connector == "trained"):
            other = f"augment={self.augment}" if self.augment != "none" else "vlm_connector=trained"
            raise ConfigError(f"image_shape=own and {other} cannot be had together; leave one of them out")

    def learning_rate(self, epoch: float, epochs: int) -> float:
        """Learning rate at a moment of a stage, in epochs from its start: a warm-up, then a cosine to zero."""
        warmup = min(self.warmup_epochs or WARMUP * epochs, epochs / 2)
        first = self.warmup_lr or FIRST * self.lr
        return warm_cosine(self.lr, epoch, epochs, warmup, first, self.warmup == "linear")

    def passes(self, images: int, classes: int = 0) -> tuple[int, int]:
        """Return the epochs of the first and of the second stage for so many training images, and classes if any."""
        steps, wanted = math.ceil(images / self.batch_size), max(STEPS, self.class_steps * classes)
        epochs = self.epochs or min(max(LEAST_EPOCHS, math.ceil(wanted / steps)), MOST_EPOCHS)
        second = round(epochs * self.second_stage)
        return epochs - second, second


@dataclass(frozen=True, kw_only=True)
class VITaskConfig(TuningConfig):
    """Settings of VITask: alpha of the paper is `rda`, its beta is `crt`."""

    exemplar: Literal["cls", "patches", "replace", "learned", "shuffled", "none"] = option(
        "cls",
        "what stands behind the image: the domain encoder's feature; all its patches; its patches in place of the "
        "image's tokens; controls: learned tokens, features of other images, nothing",
    )
    exemplar_tokens: int = option(1, "number of tokens of exemplar=learned", low=1)
    connector: Literal["mlp", "linear"] = option(
        "mlp", "map of the feature into the language model: normalisation, two layers with GELU; or one linear layer"
    )
    connector_rate: float = option(1.0, "learning rate of the connector as a multiple of `lr`", low=0.0)
    rda: float = option(1.0, "weight of response distribution alignment", low=0.0)
    rda_direction: Literal["student-teacher", "teacher-student"] = option(
        "student-teacher", "KL(without exemplar || with it), as published, or the other way round"
    )
    rda_detach: bool = option(True, "whether the branch with the exemplar gets no gradient of the alignment")
    crt: float = option(0.1, "weight of contrastive response tuning, in the second stage", low=0.0)
    crt_tokens: Literal["all", "label"] = option(
        "all", "tokens that are contrasted: all of the response, as published, or those in which the labels differ"
    )
    crt_detach: bool = option(False, "whether the branch with the other image gets no gradient")
    crt_branch: Literal["plain", "exemplar"] = option(
        "plain", "whether images are contrasted without exemplar, as published, or each with its own"
    )

    task_encoder: str = option(
        "mini-clip",
        "vision encoder that is fine-tuned where no domain encoder is named: a Hub id, a folder, a backbone",
    )
    task_epochs: int | None = option(None, "passes of that fine-tuning; none: its own rule", low=1)

    def __post_init__(self) -> None:
        """Refuse a contrast of exemplars where another image has no exemplar of its own.

        Raises:
            ConfigError: so it is.
        """
        super().__post_init__()
        if self.crt and self.crt_branch == "exemplar" and self.exemplar in ("patches", "replace", "none"):
            raise ConfigError(
                "crt_branch=exemplar contrasts an image with another one and its exemplar, which exemplar="
                f"{self.exemplar} does not give; use crt_branch=plain, or exemplar=cls"
            )

    @property
    def reads_encoder(self) -> bool:
        """Whether the exemplar comes from a domain encoder."""
        return self.exemplar not in ("none", "learned")
