"""Training settings shared by every method that learns by gradient descent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from acclimate.data.augment import Augmentation
from acclimate.errors import ConfigError
from acclimate.options import Checked, option


def warm_cosine(lr: float, epoch: float, epochs: int, warmup: float, first: float = 0.0, rises: bool = True) -> float:
    """Return the learning rate at a moment: a warm-up, then half a cosine from the peak down to zero.

    Args:
        lr: the peak.
        epoch: the moment, in epochs from the start.
        epochs: of the whole training.
        warmup: epochs of the warm-up, fewer than `epochs`.
        first: rate at the start of the warm-up.
        rises: whether the warm-up rises to the peak, or stays at `first`.
    """
    if epoch < warmup:
        return first + (lr - first if rises else 0.0) * epoch / warmup
    return lr * 0.5 * (1.0 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


@dataclass(frozen=True, kw_only=True)
class Views(Checked):
    """Which views of the training images are learned from."""

    augment: Literal["none", "crop", "flip", "crop+flip", "auto"] = option(
        "none",
        "random views of the training images; none lets frozen towers read features from the cache; auto: crops, and "
        "flips where the domain allows mirror images",
    )
    views: int = option(
        8, "augmented views cached per image for frozen towers; 0 draws a fresh view in every step, as published", low=0
    )
    crop_scale: float = option(0.08, "smallest share of the image's area in a random crop", low=0.01, high=1.0)

    def augmentation(self, flip_keeps_meaning: bool, domain: str) -> Augmentation | None:
        """Return how random views are drawn; none where the evaluation view serves.

        Args:
            flip_keeps_meaning: whether mirror images may be used: not where the heart changes sides, or a radar shadow.
            domain: name of the domain, for the message.

        Raises:
            ConfigError: mirror images are asked for where they change the meaning.
        """
        if self.augment == "none":
            return None
        if "flip" in self.augment and not flip_keeps_meaning:
            raise ConfigError(
                f"augment={self.augment}: mirror images change meaning in the domain '{domain}'; "
                "use augment=crop, or name another domain with `domain`"
            )
        crop = self.augment != "flip"
        flip = flip_keeps_meaning if self.augment == "auto" else "flip" in self.augment
        return Augmentation(crop=crop, min_scale=self.crop_scale, flip=flip)


@dataclass(frozen=True, kw_only=True)
class Recipe(Views):
    """How a gradient stage is trained; the defaults are those under CoOp (Zhou et al. 2022) and its descendants.

    What no caller chooses is a constant of the class, for kinds of training that have another.
    """

    second_beta: ClassVar[float] = 0.999  # of AdamW
    decay_vectors: ClassVar[bool] = True  # whether weight decay also pulls at biases and scales
    by_step: ClassVar[bool] = False  # whether the learning rate changes within an epoch
    rate_option: ClassVar[str] = "settings={{'lr': {:g}}}"  # how a caller of `adapt` names a learning rate

    epochs: int | None = option(None, "passes over the training images; none: the method's published rule", low=1)
    batch_size: int = option(32, "images in a step", low=1)
    optimizer: Literal["sgd", "adamw"] = option("sgd", "optimiser of the learned parameters")
    lr: float = option(2e-3, "learning rate after warm-up", low=0.0)
    momentum: float = option(0.9, "momentum of SGD; first beta of AdamW", low=0.0, high=0.9999)
    weight_decay: float = option(5e-4, "weight decay", low=0.0)
    epsilon: float = option(1e-8, "term that AdamW adds to the denominator", low=0.0)
    warmup_epochs: int = option(1, "epochs of warm-up before the cosine", low=0)
    warmup: Literal["constant", "linear"] = option("constant", "shape of the warm-up")
    warmup_lr: float = option(1e-5, "learning rate of a constant warm-up, and of epoch 0 of a linear one", low=0.0)
    grad_clip: float | None = option(None, "largest total gradient norm; none: no clipping", low=0.0)
    select: Literal["last", "best-val"] = option("last", "which epoch is kept; best-val looks at validation data only")
    select_every: int = option(
        1, "epochs between two looks of best-val; the last epoch is always looked at", low=1, later=True
    )

    @property
    def keeps_one_epoch(self) -> bool:
        """Whether one epoch is kept, so that a rule can choose it; false where the epochs are averaged."""
        return True

    def learning_rate(self, epoch: float, epochs: int) -> float:
        """Learning rate of an epoch, or `by_step` of a moment in it: warm-up, then a cosine that starts anew after it.

        Follows the scheduler under the released CoOp code, where the cosine counts from the end of the warm-up while
        its period stays the whole training, so it stops short of zero: lr/2 (1 + cos(pi (epoch - warm-up) / epochs)).
        """
        if epoch < self.warmup_epochs:
            if self.warmup == "constant" or epoch == 0:
                return self.warmup_lr
            return self.lr * epoch / self.warmup_epochs
        return 0.5 * self.lr * (1.0 + math.cos(math.pi * (epoch - self.warmup_epochs) / epochs))
