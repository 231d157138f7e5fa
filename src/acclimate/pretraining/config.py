"""Settings of masked pretraining, and the recipe they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from acclimate.backbones.mae import check_shape
from acclimate.options import Checked, option
from acclimate.training.recipe import Recipe

REFERENCE_BATCH = 256  # the batch that the base learning rate belongs to
WARMUP = 0.05  # share of the epochs, as the paper's 40 of 800


@dataclass(frozen=True, kw_only=True)
class MaeRecipe(Recipe):
    """AdamW with a linear warm-up and a cosine to zero, step by step (He et al. 2022, appendix A.1, table 8)."""

    second_beta: ClassVar[float] = 0.95
    decay_vectors: ClassVar[bool] = False
    by_step: ClassVar[bool] = True

    def learning_rate(self, epoch: float, epochs: int) -> float:
        """Learning rate at a moment, in epochs from the start."""
        warmup = WARMUP * epochs
        if epoch < warmup:
            return self.lr * epoch / warmup
        return self.lr * 0.5 * (1.0 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


@dataclass(frozen=True, kw_only=True)
class MaeConfig(Checked):
    """Settings of a masked autoencoder."""

    size: Literal["tiny", "small", "base"] = option("tiny", "width and depth of encoder and decoder")
    image_size: int | None = option(None, "side of the pictures in pixels; none: that of the size", low=8)
    patch_size: int | None = option(None, "side of a patch in pixels; none: that of the size", low=1)
    mask_ratio: float = option(0.75, "share of the patches that is hidden", low=0.0, high=1.0)
    epochs: int = option(200, "passes over the pictures; 0 saves an untrained encoder", low=0)
    batch_size: int = option(64, "pictures in a step", low=1)
    lr: float | None = option(None, "peak learning rate; none: 1.5e-4 times batch size over 256", low=0.0)
    base_lr: ClassVar[float] = 1.5e-4
    crop_scale: float = option(0.2, "smallest share of a picture's area in a random crop", low=0.01, high=1.0)

    def __post_init__(self) -> None:
        """Resolve the sides, and check that the patches fit."""
        super().__post_init__()
        side, patch = check_shape(self.size, self.image_size, self.patch_size, self.mask_ratio)
        object.__setattr__(self, "image_size", side)
        object.__setattr__(self, "patch_size", patch)

    def recipe(self) -> MaeRecipe:
        """Return how it is trained."""
        lr = self.base_lr * self.batch_size / REFERENCE_BATCH if self.lr is None else self.lr
        return MaeRecipe(
            epochs=max(self.epochs, 1), batch_size=self.batch_size, optimizer="adamw", lr=lr, weight_decay=0.05
        )
