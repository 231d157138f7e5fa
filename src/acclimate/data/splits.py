"""Splits: random, but the same on every machine and for every order of the files.

Every choice sorts names by sha256 of "seed:purpose:name". Images of one group never part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final, Literal, TypeVar

from acclimate import arguments
from acclimate.data.dataset import ImageData
from acclimate.data.greedy import divide_greedily
from acclimate.data.ordering import some
from acclimate.data.stable import divide_stably
from acclimate.data.units import SPLITS, Unit, by_class, units
from acclimate.errors import ConfigError

log = logging.getLogger("acclimate.data")

D = TypeVar("D", bound=ImageData)

Rule = Literal["stable", "greedy"]
STABLE: Final = "stable"
GREEDY: Final = "greedy"
SPLIT_MADE = {"split_made": True}
"""Marks messages of the log about a split that is made as data are loaded, whoever may measure on another one."""
RULES: dict[str, Callable[..., dict[Unit, str]]] = {STABLE: divide_stably, GREEDY: divide_greedily}


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How a split is made, where the data give none.

    Attributes:
        rule: "stable", by which an image more or less moves hardly any other; or "greedy", that of earlier releases.
        seed: seed of the split.
        val_fraction: share of each class for validation, in [0, 1).
        test_fraction: share of each class for test, in [0, 1); both together less than 1.

    Raises:
        ConfigError: an unknown rule, or a fraction out of its range.
    """

    rule: Rule = STABLE
    seed: int = 0
    val_fraction: float = 0.2
    test_fraction: float = 0.3

    def __post_init__(self) -> None:
        """Check the values."""
        if not isinstance(self.rule, str) or self.rule not in RULES:
            raise ConfigError(f"`split_rule={arguments.shown(self.rule)}` is unknown; say one of {', '.join(RULES)}")
        _check_fractions(self.val_fraction, self.test_fraction)

    @property
    def shares(self) -> dict[str, float]:
        """The share of each split."""
        return {
            "train": 1 - self.val_fraction - self.test_fraction,
            "val": self.val_fraction,
            "test": self.test_fraction,
        }

    def to_dict(self) -> dict[str, str | int | float]:
        """Return it as plain values."""
        return asdict(self)


def make_splits(
    data: D,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.3,
    rule: Rule = STABLE,
) -> D:
    """Return the data with a new split: groups stay whole; classes, and domains in them, are divided in proportion.

    A group with several labels counts for its most frequent one. A class with three or more groups is in all three
    splits, one with two in train and test, one with a single group in train only, which is logged.

    Args:
        data: the images; a split they have is replaced.
        seed, val_fraction, test_fraction, rule: as in `SplitPlan`.

    Raises:
        ConfigError: an unknown rule, or a fraction out of its range.
    """
    plan = SplitPlan(rule=rule, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)
    classes = by_class(units(data))
    column = [""] * len(data)
    for members in classes.values():
        for unit, split in RULES[rule](members, seed, plan.shares).items():
            for row in unit.rows:
                column[row] = split
    result = data.with_splits(column, "made", plan.to_dict())
    report_made(result, extra=SPLIT_MADE)
    return result


def _check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise `ConfigError` unless both fractions are in [0, 1) and leave something for training."""
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ConfigError(f"`{name}={value!r}` is out of range; say a number from 0 up to, but not including, 1")
    if val_fraction + test_fraction >= 1:
        raise ConfigError(
            f"`val_fraction={val_fraction!r}` and `test_fraction={test_fraction!r}` leave nothing for training; "
            "together they must be below 1"
        )


def report_made(data: ImageData, extra: Mapping[str, bool] | None = None) -> None:
    """Say what the split is that was made of some data, and which classes it does not test; `extra` marks that."""
    splits = data.splits
    sizes = ", ".join(f"{split} {splits.count(split)}" for split in SPLITS)
    log.info("%s: a split is made (%s) by class, domain and group", data.name, sizes, extra=extra)
    single = sorted(label for label, members in by_class(units(data)).items() if len(members) == 1)
    if single and "test" in splits:
        told = "%s: classes with one image or group stay in train and are not tested: %s"
        log.warning(told, data.name, some(single), extra=extra)
