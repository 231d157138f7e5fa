"""Splits: random, but the same on every machine and for every order of the files.

Every choice sorts names by sha256 of "seed:purpose:name". Images of one group never part.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from dataclasses import dataclass

from acclimate.data.dataset import ImageData
from acclimate.data.ordering import draw, some
from acclimate.errors import ConfigError

log = logging.getLogger("acclimate.data")

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Unit:
    """What a split moves as one: a group, or an image without a group."""

    name: str
    rows: tuple[int, ...]
    label: str
    domain: str


def make_splits(data: ImageData, seed: int = 0, val_fraction: float = 0.2, test_fraction: float = 0.3) -> ImageData:
    """Return the data with a new split: groups stay whole; classes, and domains in them, are divided in proportion.

    A group with several labels counts for its most frequent one. A class with three or more groups is in all three
    splits, one with two in train and test, one with a single group in train only, which is logged.

    Args:
        data: the images; a split they have is replaced.
        seed: seed of the split.
        val_fraction: share of each class for validation, in [0, 1).
        test_fraction: share of each class for test, in [0, 1); both together less than 1.

    Raises:
        ConfigError: a fraction out of its range.
    """
    check_fractions(val_fraction, test_fraction)
    shares = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    by_class: dict[str, list[Unit]] = defaultdict(list)
    for unit in units(data):
        by_class[unit.label].append(unit)
    column = [""] * len(data)
    for members in by_class.values():
        for unit, split in _divide(members, seed, shares).items():
            for row in unit.rows:
                column[row] = split
    _report_made(data.name, by_class, column, shares)
    return data.with_splits(column, "made")


def check_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raise `ConfigError` unless both fractions are in [0, 1) and leave something for training."""
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not isinstance(value, (int, float)) or not 0 <= value < 1:
            raise ConfigError(f"`{name}={value!r}` is out of range; say a number from 0 up to, but not including, 1")
    if val_fraction + test_fraction >= 1:
        raise ConfigError(
            f"`val_fraction={val_fraction!r}` and `test_fraction={test_fraction!r}` leave nothing for training; "
            "together they must be below 1"
        )


def units(data: ImageData) -> list[Unit]:
    """Return the groups of the data, and the images without one, each with its most frequent label and domain."""
    members: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for row, (key, group) in enumerate(zip(data.keys, data.groups, strict=True)):
        members[bool(group), group or key].append(row)
    labels, domains = data.label_names, data.domains
    return [
        Unit(
            name,
            tuple(rows),
            _most_frequent([labels[row] for row in rows]),
            _most_frequent([domains[row] for row in rows]),
        )
        for (_, name), rows in members.items()
    ]


def _most_frequent(values: list[str]) -> str:
    if len(values) == 1:
        return values[0]
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _divide(members: list[Unit], seed: int, shares: dict[str, float]) -> dict[Unit, str]:
    """Divide the units of one class.

    The largest unit goes first, units of the same size in hashed order, each to the split that lacks most images,
    counted over the class and over the unit's domain within the class. Splits that would stay empty although there are
    units enough come first at the end.
    """
    total = sum(len(unit.rows) for unit in members)
    within: Counter[str] = Counter()
    for unit in members:
        within[unit.domain] += len(unit.rows)
    lacking = {split: share * total for split, share in shares.items()}
    lacking_domain = {
        (split, domain): share * size for split, share in shares.items() for domain, size in within.items()
    }
    # In the order in which few units are handed out: one for train, the second for test, the third for val.
    wanted = [split for split in ("train", "test", "val") if shares[split] > 0][: len(members)]
    empty = set(wanted)
    ordered = sorted(members, key=lambda unit: (-len(unit.rows), draw(seed, "split", unit.name), unit.name))
    chosen = {}
    for done, unit in enumerate(ordered):
        scarce = len(members) - done <= len(empty)
        candidates = [
            split for split in ("train", "test", "val") if shares[split] > 0 and (split in empty or not scarce)
        ]
        split = max(candidates, key=lambda name: round(lacking[name] + lacking_domain[name, unit.domain], 6))
        chosen[unit] = split
        empty.discard(split)
        lacking[split] -= len(unit.rows)
        lacking_domain[split, unit.domain] -= len(unit.rows)
    return chosen


def _report_made(name: str, by_class: dict[str, list[Unit]], column: list[str], shares: dict[str, float]) -> None:
    sizes = ", ".join(f"{split} {column.count(split)}" for split in SPLITS)
    log.info("%s: a split is made (%s) by class, domain and group", name, sizes)
    single = sorted(label for label, members in by_class.items() if len(members) == 1)
    if single and shares["test"] > 0:
        log.warning("%s: classes with one image or group stay in train and are not tested: %s", name, some(single))
