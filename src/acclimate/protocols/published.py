"""Published rules for what trains and what validates in domain generalisation, by name.

They are those of the released code of SPG (arXiv 2404.19286; its paper gives no ratio). The rule is the published one,
the draw is ours: hashed, the same on every machine, with groups kept whole; the authors' lists are shuffled ones.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

from acclimate.data import ImageData, make_splits
from acclimate.data.ordering import draw
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
    """

    name: str
    meaning: str
    val: float | None = None
    train: float | None = None


SPLIT_RULES = {
    rule.name: rule
    for rule in (
        SplitRule("own", "the split that the data give, or the one made for them"),
        SplitRule("spg-pacs", "PACS: 70 % train, 30 % validate", val=0.3),
        SplitRule("spg-officehome", "OfficeHome: 70 % train, 30 % validate", val=0.3),
        SplitRule("spg-terraincognita", "TerraIncognita: 70 % train, 30 % validate", val=0.3),
        SplitRule("spg-vlcs", "VLCS: the folders `full` train and `test` validate; give them as train and val"),
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


def apply_rule(name: str, data: ImageData) -> ImageData:
    """Return the data with the split of a rule; images that the rule drops are gone.

    Raises:
        DataError: the rule wants a given split and the data have none.
    """
    rule = get_split_rule(name)
    if rule.name == "spg-vlcs" and data.split_origin != "given":
        raise DataError(
            f"{data.name}: splits=spg-vlcs takes the given split, and the data give none; name it in a column"
        )
    if rule.val is None:
        return data
    if rule.train is None:
        return make_splits(data, seed=0, val_fraction=rule.val, test_fraction=0.0)
    return _subset(data, rule.train, rule.val)


def _subset(data: ImageData, train: float, val: float) -> ImageData:
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row, cell in enumerate(zip(data.domains, data.labels.tolist(), strict=True)):
        cells[cell].append(row)
    column = [""] * len(data)
    for rows in cells.values():
        rows.sort(key=lambda row: draw(0, "subset", data.keys[row]))
        first, second = math.ceil(train * len(rows)), math.ceil(val * len(rows))
        for place, row in enumerate(rows[: first + second]):
            column[row] = "train" if place < first else "val"
    kept = [row for row, split in enumerate(column) if split]
    return data.with_splits(column, "made").select(kept)
