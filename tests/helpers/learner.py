"""A small learner and a small feed, for tests of the fit loop alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from acclimate.training.feeds import FeatureFeed
from acclimate.training.fit import FitContext
from acclimate.training.progress import Silent
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage


class Linear(nn.Module):
    """A linear classifier with noise on its inputs, so that the seeds of single steps matter."""

    def __init__(self, width: int = 6, classes: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(classes, width, generator=generator))
        self.seen: list[int] = []

    def logits(self, batch):
        return batch.image_features @ self.weight.T

    def accuracy(self, feed):
        batch = feed.batch(torch.arange(len(feed)))
        return float((self.logits(batch).argmax(1) == batch.labels).float().mean())

    def loss(self, batch):
        self.seen += batch.index.tolist()
        noisy = batch.image_features + 0.1 * torch.randn_like(batch.image_features)
        return {
            "cross_entropy": F.cross_entropy(noisy @ self.weight.T, batch.labels),
            "size": 1e-3 * self.weight.square().sum(),
        }

    def learned_state(self):
        return dict(self.state_dict())

    def load_learned_state(self, state):
        self.load_state_dict(state)

    def stages(self, *recipes):
        return [
            GradientStage(f"stage{number}", recipe, recipe.epochs, self.loss, list(self.parameters()))
            for number, recipe in enumerate(recipes)
        ]


def blobs(count: int = 30, seed: int = 0, width: int = 6, classes: int = 3) -> FeatureFeed:
    """Features (count, width) around one centre per class, linearly separable."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    features = 3 * F.one_hot(labels, width).float() + 0.5 * torch.randn(count, width, generator=generator)
    return FeatureFeed(features, labels)


def recipe(**settings) -> Recipe:
    """A recipe short enough for a test: 3 epochs in batches of 8."""
    return Recipe(**{"epochs": 3, "batch_size": 8, "lr": 0.05, "warmup_epochs": 1, **settings})


def context(accelerator, **settings) -> FitContext:
    return FitContext(accelerator, **{"checkpoint_seconds": 0.0, **settings})


class Interrupted(Exception):
    pass


class StopAt(Silent):
    """Raises before step `step` (counted from the start of this attempt) is done."""

    def __init__(self, step):
        self.left = step

    def advance(self, amount=1, **figures):
        if not figures and amount == 1:  # the step itself, not the position told on resuming
            if self.left == 0:
                raise Interrupted
            self.left -= 1
