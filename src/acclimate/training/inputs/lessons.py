"""Questions and their answers, where each image has its own, or several, one of which is drawn in an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.training.batch import Batch
from acclimate.training.inputs.contract import LESSONS
from acclimate.training.inputs.kinds import Given, InputKind, register_input
from acclimate.training.seeding import generator

if TYPE_CHECKING:
    from acclimate.training.feeds import Feed


@register_input
class LessonInput(InputKind):
    """`lessons` (B,), which of the `lessons` of the training data each image has."""

    name = LESSONS

    def feed(self, data: Any, given: Given) -> Feed:
        """Return a feed of them; `data` are images with questions or with captions."""
        return LessonFeed(data.choices(), given.seed)


class LessonFeed:
    """Lessons by index.

    Args:
        choices: (N,) which lessons each image may have.
        seed: which one it has in epoch e depends on (seed, e, its row) alone.
    """

    def __init__(self, choices: Sequence[Sequence[int]], seed: int) -> None:
        self.choices, self.seed = choices, seed
        self.labels = torch.tensor([some[0] for some in choices], dtype=torch.long)

    def __len__(self) -> int:
        return len(self.choices)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the lessons at `index` (B,)."""
        return Batch(lessons=torch.tensor([self._drawn(row, epoch) for row in index.tolist()], dtype=torch.long))

    def _drawn(self, row: int, epoch: int | None) -> int:
        some = self.choices[row]
        return int(some[0] if len(some) == 1 else generator("lesson", self.seed, epoch, row).choice(some))
