"""The contract of a protocol: it turns data sets into trials, and what was measured in a trial into figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from acclimate.data import ImageData
from acclimate.errors import ConfigError, DataError
from acclimate.metrics import CLASSIFICATION, flat_values
from acclimate.options import Checked, nearest, option
from acclimate.protocols.drawing import draw_training, draw_validation
from acclimate.protocols.layout import Layout
from acclimate.protocols.selection import SelectionRule, get_selection_rule

Figures = dict[str, dict[str, float | None]]
"""For each column of a table, the value of each measure; None where a method cannot serve it."""


@dataclass(frozen=True)
class Trial:
    """One training set with everything that is measured after it.

    Attributes:
        train: images to learn from, the shots already drawn; its `class_names` are the classes that are learned.
        val: images that hyper-parameters and epochs may be chosen by, as the selection rule says; of the same classes.
        tests: images to measure on, by name; the `class_names` of each are the classes to tell apart there.
        whole: the data, where training, validation and test are their splits as they are; or none.
    """

    train: ImageData
    val: ImageData
    tests: Mapping[str, ImageData]
    whole: ImageData | None = None

    @property
    def splits(self) -> dict[str, ImageData]:
        """All images by what they serve for, as `splits.json` lists them."""
        return {"train": self.train, "val": self.val, **self.tests}


@dataclass(frozen=True, kw_only=True)
class Protocol(Checked, ABC):
    """Base of all protocols: a frozen dataclass of its options, listed in `list_protocols` under its `name`."""

    name: ClassVar[str]
    title: ClassVar[str]
    layout: ClassVar[Layout] = Layout()
    several_sets: ClassVar[bool] = False  # whether one trial may span several data sets
    rules: ClassVar[tuple[str, ...]] = ("last-step", "training-domain-validation")

    selection: str = option("last-step", "rule by which epochs and hyper-parameters are chosen")

    def __post_init__(self) -> None:
        """Refuse a selection rule that makes no sense here."""
        super().__post_init__()
        if get_selection_rule(self.selection).name not in self.rules:
            raise ConfigError(f"the protocol {self.name} has no rule {self.selection}; choose {', '.join(self.rules)}")

    @property
    def rule(self) -> SelectionRule:
        """The selection rule."""
        return get_selection_rule(self.selection)

    @abstractmethod
    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the names of what is repeated over: data sets, or domains.

        Args:
            sets: the data sets, by name.

        Raises:
            DataError: the protocol cannot be run on these data.
        """

    def count_trials(self, names: Sequence[str]) -> int | None:
        """Return how many trials there are on data sets of these names, before they are loaded.

        Args:
            names: one data set, or all where a trial spans several.

        Returns:
            The number; none where only the data tell, such as that of the domains.
        """
        return None

    @abstractmethod
    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return the images of one trial.

        Args:
            trial: one of `trials(sets)`.
            sets: the data sets, by name.
            shots: as in `sample_shots`.
            seed: of the shots.

        Raises:
            DataError: there are no images for it.
        """

    def make_trial(
        self, train: ImageData, val: ImageData, tests: Mapping[str, ImageData], shots: int | str, seed: int
    ) -> Trial:
        """Draw shots of the training and validation images, passing over whatever is measured.

        Args:
            train: images that may be learned from.
            val: images that may be chosen by.
            tests: images that are measured, by name.
            shots, seed: as in `draw`.

        Raises:
            DataError: a class has no training image, or the selection rule needs validation images and there are none.
        """
        tested = tuple(tests.values())
        trial = Trial(draw_training(train, shots, seed, tested), draw_validation(val, shots, seed, tested), tests)
        if self.rule.epoch == "best-val" and not len(trial.val):
            raise DataError(
                f"{train.name}: selection={self.selection} needs validation images and there are none; give some, or "
                "choose selection=last-step"
            )
        return trial

    def figures(self, tests: Mapping[str, Mapping[str, Any] | None]) -> Figures:
        """Return what tables show.

        Args:
            tests: for each test its metrics, or None where the method cannot serve its classes: then the figures that
                the other tests have are None.

        Raises:
            ValueError: metrics without any known figure.
        """
        served = {test: flat_values(metrics) for test, metrics in tests.items() if metrics is not None}
        names = dict.fromkeys(name for values in served.values() for name in values) or CLASSIFICATION
        return {test: {name: served.get(test, {}).get(name) for name in names} for test in tests}


def only(sets: Mapping[str, ImageData], protocol: str) -> ImageData:
    """Return the single data set of a protocol that works on one.

    Raises:
        ConfigError: there is none, or more than one.
    """
    if len(sets) != 1:
        raise ConfigError(f"the protocol {protocol} takes one data set at a time, not {', '.join(sets) or 'none'}")
    return next(iter(sets.values()))


def refuse_reserved(names: Iterable[str], kind: str) -> None:
    """Refuse names of domains or data sets that a trial has another use for.

    Raises:
        DataError: one of the names is taken.
    """
    taken = sorted({"train", "val", "test"} & set(names))
    if taken:
        raise DataError(f"a {kind} is named '{taken[0]}', which is what a split is called here; rename it")


_PROTOCOLS: dict[str, type[Protocol]] = {}

P = TypeVar("P", bound=type[Protocol])


def protocol(kind: P) -> P:
    """Register a protocol class under its `name`."""
    if _PROTOCOLS.get(kind.name, kind) is not kind:
        raise ValueError(f"two protocols are named '{kind.name}'")
    _PROTOCOLS[kind.name] = kind
    return kind


def get_layout(name: str) -> Layout:
    """Return how tables of a protocol look; the usual way for one that is not there, such as in old results."""
    return _PROTOCOLS[name].layout if name in _PROTOCOLS else Layout()


def list_protocols() -> tuple[type[Protocol], ...]:
    """Return all protocol classes, by name."""
    return tuple(_PROTOCOLS[name] for name in sorted(_PROTOCOLS))


def get_protocol(name: str) -> type[Protocol]:
    """Return the protocol class of a name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    if name not in _PROTOCOLS:
        known = sorted(_PROTOCOLS)
        raise ConfigError(f"unknown protocol '{name}'{nearest(name, known)} (protocols: {', '.join(known)})")
    return _PROTOCOLS[name]
