"""Units: what a split moves as one, and which splits they serve when there are few."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from acclimate.counting import counted
from acclimate.data.dataset import ImageData
from acclimate.data.ordering import some

log = logging.getLogger("acclimate.data")

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Unit:
    """What a split moves as one: a group, or an image without a group."""

    name: str
    rows: tuple[int, ...]
    label: str
    domain: str


def units(data: ImageData) -> list[Unit]:
    """Return the groups of the data, and the images without one, each with its most frequent label and domain."""
    members: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for row, (key, group) in enumerate(zip(data.keys, data.groups, strict=True)):
        members[bool(group), group or key].append(row)
    labels, domains = data.strata, data.domains
    return [
        Unit(
            name,
            tuple(rows),
            most_frequent([labels[row] for row in rows]),
            most_frequent([domains[row] for row in rows]),
        )
        for (_, name), rows in members.items()
    ]


def by_class(found: list[Unit]) -> dict[str, list[Unit]]:
    """Return units by their class."""
    classes: dict[str, list[Unit]] = defaultdict(list)
    for unit in found:
        classes[unit.label].append(unit)
    return classes


def most_frequent(values: list[str]) -> str:
    """Return the value that occurs most often, of several the first in the alphabet."""
    if len(values) == 1:
        return values[0]
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def served(shares: Mapping[str, float], number: int) -> list[str]:
    """Return the splits that so many units of a class serve: one is for train, the second for test, a third for val."""
    return [split for split in ("train", "test", "val") if shares[split] > 0][:number]


def warn_of_crossing(data: ImageData, kind: str) -> None:
    """Warn of groups that a given or kept split divides."""
    sides: dict[str, set[str]] = {}
    for group, split in zip(data.groups, data.splits, strict=True):
        if group:
            sides.setdefault(group, set()).add(split)
    crossing = sorted(group for group, found in sides.items() if len(found) > 1)
    if crossing:
        log.warning(
            "%s: %s on several sides of the %s split, which leaks: %s",
            data.name,
            counted(len(crossing), "group is", "groups are"),
            kind,
            some(crossing),
        )
