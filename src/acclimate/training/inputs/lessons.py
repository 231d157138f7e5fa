"""Questions and their answers, where each image has its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.training.batch import Batch
from acclimate.training.inputs.contract import LESSONS
from acclimate.training.inputs.kinds import Given, InputKind, register_input

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.training.feeds import Feed


@register_input
class LessonInput(InputKind):
    """`lessons` (B,), which of the `lessons` of the training data each image has."""

    name = LESSONS

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of them."""
        return LessonFeed(torch.from_numpy(data.told()[1]))


class LessonFeed:
    """Lessons by index.

    Args:
        labels: (N,).
    """

    def __init__(self, labels: Tensor) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the lessons at `index` (B,)."""
        return Batch(lessons=self.labels[index])
