"""Published rules for what trains and what validates in domain generalisation, by name.

They are those of the released code of SPG (arXiv 2404.19286; its paper gives no ratio). The rule is the published one,
the draw is ours: hashed, the same on every machine, with groups kept whole; the authors' lists are shuffled ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from acclimate.data import ImageData, make_splits
from acclimate.data.ordering import draw
from acclimate.data.splits import GREEDY
from acclimate.data.units import Unit, units
from acclimate.errors import ConfigError, DataError
from acclimate.options import nearest


@dataclass(frozen=True)
class SplitRule:
    """How the images of every class in every domain part into training and validation.

    Attributes:
        name: as in recipes.
        meaning: one sentence.
        val: share of validation images; none keeps the data's own split.
        train: share of training images; what neither share holds is dropped, also from the test.
        given: whether it takes the split that the data give, and nothing else.
    """

    name: str
    meaning: str
    val: float | None = None
    train: float | None = None
    given: bool = False


SPLIT_RULES = {
    rule.name: rule
    for rule in (
        SplitRule("own", "the split that the data give, or the one made for them"),
        SplitRule("spg-pacs", "PACS: 70 % train, 30 % validate", val=0.3),
        SplitRule("spg-officehome", "OfficeHome: 70 % train, 30 % validate", val=0.3),
        SplitRule("spg-terraincognita", "TerraIncognita: 70 % train, 30 % validate", val=0.3),
        SplitRule(
            "spg-vlcs", "VLCS: the folders `full` train and `test` validate; give them as train and val", given=True
        ),
        SplitRule(
            "spg-domainnet",
            "DomainNet subset: 2 % train and 1 % validate, both rounded up, the rest is dropped",
            val=0.01,
            train=0.02,
        ),
    )
}


def get_split_rule(name: str) -> SplitRule:
    """Return the rule of a name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    if name not in SPLIT_RULES:
        raise ConfigError(f"unknown split rule '{name}'{nearest(name, SPLIT_RULES)} (rules: {', '.join(SPLIT_RULES)})")
    return SPLIT_RULES[name]


def check_rule(name: str, data: ImageData) -> SplitRule:
    """Return the rule of a name, which fits the data.

    Raises:
        DataError: the rule wants a given split and the data have none.
    """
    rule = get_split_rule(name)
    if rule.given and data.split_origin != "given":
        raise DataError(
            f"{data.name}: splits={name} takes the given split, and the data give none; name it in a column"
        )
    return rule


def apply_rule(name: str, data: ImageData) -> ImageData:
    """Return the data with the split of a rule; images that the rule drops are gone.

    Raises:
        DataError: the rule wants a given split and the data have none.
    """
    rule = check_rule(name, data)
    if rule.val is None:
        return data
    if rule.train is None:
        # the rule that recorded jobs were made with, whose hashes hold its name alone
        return make_splits(data, seed=0, val_fraction=rule.val, test_fraction=0.0, rule=GREEDY)
    return _subset(data, {"train": rule.train, "val": rule.val})


def _subset(data: ImageData, shares: Mapping[str, float]) -> ImageData:
    """Keep a share of every class in every domain for each split, rounded up, and drop the rest; groups stay whole."""
    cells: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in units(data):
        cells[unit.domain, unit.label].append(unit)
    column = [""] * len(data)
    for members in cells.values():
        size = sum(len(unit.rows) for unit in members)
        wanted = {split: math.ceil(share * size) for split, share in shares.items()}
        for unit in sorted(members, key=lambda unit: (draw(0, "subset", unit.name), unit.name)):
            split = next((split for split, number in wanted.items() if number > 0), None)
            if split is None:
                break
            wanted[split] -= len(unit.rows)
            for row in unit.rows:
                column[row] = split
    return data.with_splits(column, "made").select([row for row, split in enumerate(column) if split])
