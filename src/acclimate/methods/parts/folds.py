"""Out of fold: what a classifier says of training images that it has not learned from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.data.folds import deal_folds
from acclimate.methods.parts.scores import BATCH
from acclimate.training.feeds import Feed, RepeatedFeed, chunks
from acclimate.training.stages import SolverStage

if TYPE_CHECKING:
    from acclimate.methods.capabilities import Classifier
    from acclimate.methods.contract import TrainingFacts

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
def left_out(make: Callable[[], Classifier], facts: TrainingFacts, train: Feed, fold: Tensor) -> Tensor:
    """Return log-probabilities (N, C) of training images, each by a classifier that has not learned from its fold.

    Args:
        make: makes such a classifier, bound to its classes, all of whose stages are solvers.
        facts: of the training images.
        train: the training images.
        fold: (N,) as `deal` gives it.
    """
    found: list[tuple[Tensor, Tensor]] = []
    for number in fold.unique():
        kept, rows = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
        if not len(kept):
            raise ValueError("a single fold leaves nothing to learn from")
        one = learned(make(), facts, RepeatedFeed(train, kept))
        found.append((rows, log_probabilities(one, RepeatedFeed(train, rows))))
    order = torch.cat([rows for rows, _ in found]).argsort()
    return torch.cat([some for _, some in found])[order]


@torch.no_grad()
def learned(one: Classifier, facts: TrainingFacts, train: Feed) -> Classifier:
    """Return a classifier after its stages, all of which are solvers."""
    for stage in one.stages(facts):
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
