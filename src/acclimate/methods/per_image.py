"""Scores of images against classes of their own, where each image brings prompts for every class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PAIRS = 16384  # images x classes whose directions are held at once; with 512 numbers each, 32 MiB


def cosines_per_image(images: Tensor, classes: int, directions: Callable[[slice], Tensor]) -> Tensor:
    """Return cos(z(x), w_c(x)) (B, C) in full precision, few images at a time.

    Args:
        images: z(x) (B, E), L2-normalised.
        classes: C.
        directions: maps a slice of b images to their w_c(x) (b, C, E), L2-normalised.
    """
    step = max(1, PAIRS // classes)
    parts = []
    for first in range(0, max(1, len(images)), step):  # no images make an empty table
        few = slice(first, first + step)
        weights = directions(few)
        with torch.autocast(images.device.type, enabled=False):
            parts.append(torch.einsum("be,bce->bc", images[few].float(), weights.float()))
    return torch.cat(parts)
