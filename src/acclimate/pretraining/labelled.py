"""Labelled data sets that one head tells apart, each by its own slice of the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from acclimate.data import Augmentation, ImageData
from acclimate.data.frozen import assignment_hash, split_table
from acclimate.data.several import BETWEEN, split_labels
from acclimate.errors import ConfigError, DataError


@dataclass(frozen=True)
class LabelledSet:
    """A data set to learn from.

    Attributes:
        name: its name.
        train: learned from.
        val: epochs are chosen by these; possibly none.
        test: measured in the end; possibly none.
        augmentation: how random views of its training images are drawn; none: they are learned from as they are.
        several: whether an image may have several labels; the name of its class is then theirs with "|" between, and
            "|" alone is none of them.
    """

    name: str
    train: ImageData
    val: ImageData
    test: ImageData
    augmentation: Augmentation | None = None
    several: bool = False

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The classes that are told apart, or the labels that an image may have."""
        if not self.several:
            return self.train.class_names
        return tuple(sorted({label for name in self.train.class_names for label in split_labels(name)}))

    @property
    def parts(self) -> dict[str, ImageData]:
        """The images by what they serve for."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def targets(self, part: ImageData) -> Tensor:
        """Return (N, K), 1 at each label of each image, in the order of `labels`."""
        place = {label: number for number, label in enumerate(self.labels)}
        table = torch.zeros(len(part.class_names), len(self.labels))
        for row, name in enumerate(part.class_names):
            for label in split_labels(name) if self.several else (name,):
                table[row, place[label]] = 1.0
        return table[torch.from_numpy(part.labels)]

    def check(self) -> None:
        """Refuse a set from which nothing can be learned.

        Raises:
            DataError: there is no training image, or there are fewer than two classes.
        """
        if not len(self.train):
            raise DataError(f"{self.name}: no image to learn from; correct the split")
        if not self.several and len(self.labels) < 2:
            raise DataError(f"{self.name}: only one class ('{self.labels[0]}'); a classifier needs at least two")
        if self.several and not self.labels:
            raise DataError(
                f"{self.name}: no image has a label; write them with '{BETWEEN}' between in the label column"
            )

    def describe(self) -> dict[str, Any]:
        """Return what decides the result of learning from it, and what a record says of it."""
        return {
            "labels": list(self.labels),
            "several": self.several,
            "images": {name: len(part) for name, part in self.parts.items()},
            "splits_hash": assignment_hash(split_table(self.parts, digests=True)),
            **({"bands": list(self.train.bands)} if self.train.bands else {}),
        }


@dataclass(frozen=True)
class Slices:
    """Which outputs of one head belong to which data set.

    Attributes:
        places: for each set, by name, its first output and the one after its last.
        columns: what each output stands for: its label, and whether it is one of several that an image may have.
    """

    places: Mapping[str, tuple[int, int]]
    columns: Sequence[tuple[str, bool]] = field(default_factory=tuple)

    @classmethod
    def of(cls, sets: Sequence[LabelledSet], share: bool = True) -> Slices:
        """Give each set a slice; sets with the very same labels share one, if they may.

        Args:
            sets: of different names.
            share: whether they may.

        Raises:
            ConfigError: no set, or two of one name.
        """
        names = [one.name for one in sets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or not sets:
            what = f"two data sets are named '{twice}'" if sets else "no data set is given"
            raise ConfigError(f"{what}; give data sets of different names, at least one")
        known: dict[Any, tuple[int, int]] = {}
        places: dict[str, tuple[int, int]] = {}
        columns: list[tuple[str, bool]] = []
        for one in sets:
            key = (one.labels, one.several) if share else one.name
            if key not in known:
                known[key] = (len(columns), len(columns) + len(one.labels))
                columns += [(label, one.several) for label in one.labels]
            places[one.name] = known[key]
        return cls(places, tuple(columns))

    def among(self) -> Tensor:
        """Return (S, C) bool: which outputs are of each set, in their order."""
        table = torch.zeros(len(self.places), len(self.columns), dtype=torch.bool)
        for row, (first, end) in enumerate(self.places.values()):
            table[row, first:end] = True
        return table

    def spread(self, targets: Tensor, name: str) -> Tensor:
        """Return the targets (N, K) of a set as those of all outputs (N, C)."""
        first, end = self.places[name]
        wide = targets.new_zeros(len(targets), len(self.columns))
        wide[:, first:end] = targets
        return wide

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, ready for JSON."""
        return {
            name: {
                "first": first,
                "labels": [label for label, _ in self.columns[first:end]],
                "several": any(several for _, several in self.columns[first:end]),
            }
            for name, (first, end) in self.places.items()
        }
