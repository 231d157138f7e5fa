"""Out of fold: what a classifier says of training images that it has not learned from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from acclimate.data.folds import deal_folds
from acclimate.methods.parts.scores import BATCH
from acclimate.training.feeds import Feed, RepeatedFeed, chunks
from acclimate.training.stages import SolverStage, Stage

if TYPE_CHECKING:
    from acclimate.methods.capabilities import Classifier

C = TypeVar("C", bound="Classifier")
FOLDS = 5


def deal(labels: Tensor, groups: Sequence[int] = (), most: int = FOLDS) -> Tensor:
    """Return the fold of each image (N,), see `deal_folds`.

    There are as many folds as the class of the most groups has of these, but no more than `most`; with one fold nothing
    can be left out.

    Args:
        labels: (N,) classes.
        groups: the group of each image, which is never divided; nothing: each is one of its own.
        most: folds.
    """
    units = groups or range(len(labels))
    having: dict[int, set[int]] = defaultdict(set)
    for label, unit in zip(labels.tolist(), units, strict=True):
        having[label].add(unit)
    count = min(most, max(map(len, having.values()), default=1))
    return torch.from_numpy(deal_folds(labels.numpy(), units, count))


def judged(labels: Tensor, fold: Tensor) -> Tensor:
    """Return which images (N,) have one of their class in another fold, so that leaving them out tells something."""
    counts = torch.zeros(int(labels.max()) + 1, int(fold.max()) + 1, dtype=torch.int64)
    counts.index_put_((labels, fold), torch.ones_like(labels), accumulate=True)
    return counts.sum(-1)[labels] > counts[labels, fold]


@torch.no_grad()
def left_out(learn: Callable[[Feed], C], say: Callable[[C, Feed], Tensor], train: Feed, fold: Tensor) -> Tensor:
    """Return what is said of training images (N, C), each by a classifier that has not learned from its fold.

    Args:
        learn: returns a classifier that has learned from some images.
        say: returns what it says of others (M, C), such as `log_probabilities`.
        train: the training images.
        fold: (N,) as `deal` gives it.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for number in fold.unique():
        kept, rows = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
        if not len(kept):
            raise ValueError("a single fold leaves nothing to learn from")
        found.append((rows, say(learn(RepeatedFeed(train, kept)), RepeatedFeed(train, rows))))
    order = torch.cat([rows for rows, _ in found]).argsort()
    return torch.cat([some for _, some in found])[order]


@torch.no_grad()
def learned(one: C, stages: Sequence[Stage], train: Feed) -> C:
    """Return a classifier after stages, all of which are solvers."""
    for stage in stages:
        if not isinstance(stage, SolverStage):
            raise ValueError(f"{one.name} descends gradients")
        stage.solve(train, None)
    one.eval()
    return one


@torch.no_grad()
def log_probabilities(one: Classifier, feed: Feed) -> Tensor:
    """Return log p(c|x) (N, C) in float64, on the CPU."""
    device = one.backbone.device
    return torch.cat([one.logits(some.to(device)).double().log_softmax(-1).cpu() for some in chunks(feed, BATCH)])
