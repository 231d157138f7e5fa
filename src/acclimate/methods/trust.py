"""`Trust`: what a method may say of how sure it is, from images that it has not learned from, and what it has seen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.methods.parts.scales import Tiles, input_of, scales
from acclimate.methods.parts.switching import switched
from acclimate.metrics import (
    conformal_threshold,
    fit_temperature,
    left_out_distances,
    nearest_distances,
    nonconformity,
    p_values,
    sets_within,
    tempered,
    units_needed,
)
from acclimate.training.inputs import DOMAIN, GRIDS, IMAGE, PIXELS, POOLED, tiled

if TYPE_CHECKING:
    from acclimate.methods.contract import Method
    from acclimate.training.batch import Batch

COVERAGES = (0.8, 0.9, 0.95)  # at which sets are measured
UNKNOWN = 0.05  # an image with a smaller p-value is called unknown, unless another threshold is asked for
KINDS = (POOLED, IMAGE, DOMAIN)  # of frozen features, each of which one vector tells of an image
GENEROUS = 3  # times as many images of each class as a threshold needs: then classes have thresholds of their own


@dataclass(frozen=True)
class HeldOut:
    """What a method says of images that it has not learned from.

    Attributes:
        probabilities: (N, C) of these images, not tempered.
        labels: (N,) their classes.
        groups: (N,) a number for each group; images without one have each its own.
        source: how they were held out: "out-of-fold", "validation" or "nothing learned".
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    source: str

    @cached_property
    def temperature(self) -> float:
        """The temperature that makes the probabilities fit best."""
        return fit_temperature(self.probabilities, self.labels)

    @property
    def units(self) -> int:
        """How many groups, and images without one, there are."""
        return len(np.unique(self.groups))

    def by_class(self, coverage: float) -> bool:
        """Return whether there are images enough for each class to have a threshold of its own."""
        needed = GENEROUS * units_needed(coverage)
        classes = range(self.probabilities.shape[1])
        return all(len(np.unique(self.groups[self.labels == number])) >= needed for number in classes)

    def thresholds(self, coverage: float) -> NDArray[np.float64]:
        """Return q (C,), see `sets_within`: of each class its own, or of all together."""
        classes, groups = self.probabilities.shape[1], self.groups.tolist()
        scores = nonconformity(tempered(self.probabilities, self.temperature), self.labels)
        if not self.by_class(coverage):
            return np.full(classes, conformal_threshold(scores, coverage, groups))
        rows = [np.flatnonzero(self.labels == number) for number in range(classes)]
        return np.array([conformal_threshold(scores[own], coverage, self.groups[own].tolist()) for own in rows])

    def sets(self, probabilities: NDArray[np.float64], coverage: float) -> NDArray[np.bool_]:
        """Return which classes are in the prediction set of each image (N, C), given what the method says of it."""
        return sets_within(tempered(probabilities, self.temperature), self.thresholds(coverage))


@dataclass(frozen=True)
class Look:
    """Which frozen features tell whether an image is like those that were learned from.

    Attributes:
        kind: of the features of the backbone, or of the domain encoder.
        grid: tiles in a row that are looked at beside the whole image; 0: none are.
    """

    kind: str = IMAGE
    grid: int = 0

    @property
    def tiles(self) -> Tiles:
        """The settings that say which tiles are read."""
        return Tiles(tiles="mean+spread", grid=self.grid) if self.grid else Tiles()

    @property
    def reads(self) -> str:
        """The input that has them."""
        return input_of(self.tiles, self.kind)

    def features(self, batch: Batch) -> NDArray[np.float32]:
        """Return what is looked at (B, F): unit features of the image, then mean and spread of those of its tiles."""
        found: NDArray[np.float32] = torch.cat(self.scales(batch), dim=-1).cpu().numpy()
        return found

    def scales(self, batch: Batch) -> list[Tensor]:
        """Return the same of each scale (B, F_k), see `scales`."""
        return scales(batch, self.tiles, self.kind)

    @classmethod
    def among(cls, names: Collection[str]) -> list[Look]:
        """Return all that some inputs hold: those with tiles first, and of these those of the backbone."""
        found = [cls(kind, grid) for kind in KINDS for grid in GRIDS if tiled(kind, grid) in names]
        return found + [cls(kind) for kind in KINDS if kind in names]

    @classmethod
    def of(cls, method: Method, domain: bool = True) -> Look | None:
        """Return the features that a method reads itself, else those in the joint space; none where there are none.

        Those of the backbone come first, and of these the ones with tiles.

        Args:
            method: it.
            domain: whether features of the domain encoder may be looked at: not where it has learned from the images.
        """
        names = method.inputs.prediction
        read = [one for one in cls.among(names) if domain or one.kind != DOMAIN]
        read += [cls()] if IMAGE in method.backbone.widths else []
        if PIXELS in names:  # the backbone runs anyway
            read.sort(key=lambda one: one.kind == DOMAIN)
        return next(iter(read), None)


@dataclass(frozen=True)
class Known:
    """The images that were learned from, as far as it takes to tell whether others are like them.

    Attributes:
        look: what is looked at.
        features: (M, F) of different images.
        groups: (M,) a number for each group; images without one have each its own.
    """

    look: Look
    features: NDArray[np.float32]
    groups: NDArray[np.int64]

    @cached_property
    def left_out(self) -> NDArray[np.float64]:
        """The distance (M,) of each of them to the nearest one of another group."""
        return left_out_distances(self.features, self.groups.tolist())

    @property
    def units(self) -> int:
        """How many groups, and images without one, there are."""
        return len(np.unique(self.groups))

    def p_known(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the p-value (B,) of images, small where they are like none of these; see `p_values`."""
        return p_values(nearest_distances(features, self.features), self.left_out, self.groups.tolist())


@dataclass(frozen=True)
class Trust:
    """What is known of how far the predictions of a method can be trusted.

    Attributes:
        class_names: the classes that it holds for, in the order of the probabilities.
        held_out: what sets are made by; none where no image was held out.
        known: what tells known from unknown; none where the backbone has no features of whole images.
    """

    class_names: tuple[str, ...]
    held_out: HeldOut | None
    known: Known | None

    def serves(self, class_names: Sequence[str]) -> bool:
        """Return whether sets can be made of these classes."""
        return self.held_out is not None and tuple(class_names) == self.class_names


def distrusted(method: object) -> AbstractContextManager[None]:
    """Return the context in which a method is without its `Trust`, as where a part of what it reads is left out."""
    return switched(method, "trust", None) if hasattr(method, "trust") else nullcontext()
