"""Settings of masked pretraining, and the recipe they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from acclimate.backbones.mae import check_shape
from acclimate.options import Checked, option
from acclimate.training.recipe import Recipe, warm_cosine

BASE_RATE, REFERENCE_BATCH = 1.5e-4, 256  # the published rate, and the batch that it belongs to
LEAST_RATE = 3e-4  # the published rule is made for batches of thousands and starves small ones
VIEWS = 200_000  # images shown in a training whose length nobody chose
WARMUP = 0.05  # share of the epochs, as the paper's 40 of 800


@dataclass(frozen=True, kw_only=True)
class MaeRecipe(Recipe):
    """AdamW with a linear warm-up and a cosine to zero, step by step (He et al. 2022, appendix A.1, table 8)."""

    second_beta: ClassVar[float] = 0.95
    decay_vectors: ClassVar[bool] = False
    by_step: ClassVar[bool] = True
    rate_option: ClassVar[str] = "lr={:g}"

    def learning_rate(self, epoch: float, epochs: int) -> float:
        """Learning rate at a moment, in epochs from the start."""
        return warm_cosine(self.lr, epoch, epochs, WARMUP * epochs)


@dataclass(frozen=True, kw_only=True)
class MaeConfig(Checked):
    """Settings of a masked autoencoder."""

    size: Literal["tiny", "small", "base"] = option("tiny", "width and depth of encoder and decoder")
    image_size: int | None = option(None, "side of the images in pixels; none: that of the size", low=8)
    patch_size: int | None = option(None, "side of a patch in pixels; none: that of the size", low=1)
    mask_ratio: float = option(0.75, "share of the patches that is hidden", low=0.0, high=1.0)
    epochs: int | None = option(
        None, "passes over the images; none: as many as show 200,000 images; 0 saves an untrained encoder", low=0
    )
    batch_size: int = option(32, "images in a step", low=1)
    lr: float | None = option(
        None, "peak learning rate; none: 1.5e-4 times batch size over 256, as published, but at least 3e-4", low=0.0
    )
    crop_scale: float = option(0.2, "smallest share of an image's area in a random crop", low=0.01, high=1.0)

    def __post_init__(self) -> None:
        """Resolve the sides, and check that the patches fit."""
        super().__post_init__()
        side, patch = check_shape(self.size, self.image_size, self.patch_size, self.mask_ratio)
        object.__setattr__(self, "image_size", side)
        object.__setattr__(self, "patch_size", patch)

    def passes(self, images: int) -> int:
        """Return the number of epochs for so many images: few images need more passes to make the same steps."""
        return math.ceil(VIEWS / images) if self.epochs is None else self.epochs

    def recipe(self) -> MaeRecipe:
        """Return how it is trained."""
        lr = max(LEAST_RATE, BASE_RATE * self.batch_size / REFERENCE_BATCH) if self.lr is None else self.lr
        return MaeRecipe(batch_size=self.batch_size, optimizer="adamw", lr=lr, weight_decay=0.05)
