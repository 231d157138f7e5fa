"""Scores: cosines of images with classes, in full precision, and the logits and accuracies that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.backbones.towers import steps
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.training.batch import Batch

NEVER = -1e4  # logit of a class without training images
BATCH = 256  # images that an accuracy is counted over at once
PAIRS = 16384  # images x classes whose directions are held at once; with 512 numbers each, 32 MiB


def similarities(backbone: DualEncoder, images: Tensor, classes: Tensor) -> Tensor:
    """Return s cos(x, w_c) + b (B, C) of directions (B, E) and (C, E), with the backbone's scale s and bias b."""
    with torch.autocast(images.device.type, enabled=False):  # a cosine in bf16 would be off by 0.1 once scaled
        return backbone.logit_scale * images.float() @ classes.float().T + backbone.logit_bias


def cosines(images: Tensor, classes: Tensor) -> Tensor:
    """Return cos(x, w_c) (B, C) of directions (B, E) and (C, E), in full precision."""
    with torch.autocast(images.device.type, enabled=False):
        return images.float() @ classes.float().T


def cosines_per_image(images: Tensor, classes: int, directions: Callable[[slice], Tensor]) -> Tensor:
    """Return cos(z(x), w_c(x)) (B, C) in full precision, few images at a time.

    Args:
        images: z(x) (B, E), L2-normalised.
        classes: C.
        directions: maps a slice of b images to their w_c(x) (b, C, E), L2-normalised.
    """
    parts = []
    for few in steps(max(1, images.shape[0]), max(1, PAIRS // classes)):  # no images make an empty table
        weights = directions(few)
        with torch.autocast(images.device.type, enabled=False):
            parts.append(torch.einsum("be,bce->bc", images[few].float(), weights.float()))
    return torch.cat(parts)


@torch.no_grad()
def accuracy(feed: Feed, logits: Callable[[Batch], Tensor], device: torch.device) -> float:
    """Return the share of labelled images whose class has the largest logit.

    Args:
        feed: at least one image.
        logits: maps a batch to (B, C).
        device: where it computes.
    """
    right = 0
    for batch in chunks(feed, BATCH):
        right += int((logits(batch.to(device)).argmax(-1).cpu() == batch.labels).sum())
    return right / len(feed)
