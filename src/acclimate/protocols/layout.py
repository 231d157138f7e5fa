"""How tables of a protocol look: their columns, and which of these a mean and a comparison count."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Layout:
    """What a table has to know of a protocol; the defaults suit any.

    A table has a column for whatever of data set, trial and column varies in it. A column is what `figures` calls it.

    Attributes:
        order: tables come in this order, those of one number by the alphabet.
        heading: what names the only column of a table in which nothing varies.
        joint: whether all data sets stand in one table, instead of in a table each.
        mean: whether several columns have their mean beside them.
        columns: those that come first, in this order; others follow by the alphabet.
        derived: columns that sum up other columns, and are no evidence of their own.
        union: the column that stands for all others of its trial where it is there; or none.
        source_apart: whether test images of the training set stand first and outside the mean; those are in the column
            named `test`, or as the trial, of a trial named as its data set.
    """

    order: float = math.inf
    heading: Literal["data", "trial", "column"] = "column"
    joint: bool = False
    mean: bool = True
    columns: tuple[str, ...] = ("test",)
    derived: tuple[str, ...] = ()
    union: str | None = None
    source_apart: bool = False
