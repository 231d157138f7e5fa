"""Folds: parts of labelled images, each of which is judged by what was learned from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from acclimate.data.dataset import ImageData


def held_together(data: ImageData) -> list[str]:
    """Return for each image a name of what is learned from or left out as one: its group, or else its exact copies."""
    return [f"group {group}" if group else data.digest(row) for row, group in enumerate(data.groups)]


def deal_folds(labels: Sequence[int] | NDArray[np.int64], units: Sequence[Hashable], folds: int) -> NDArray[np.int64]:
    """Return the fold (N,) of each image: classes are spread evenly, and what is of one unit stays together.

    The largest unit goes first, of equal ones the first in the data; each to the fold that has fewest images of its
    classes, of several to the first. So what is left without a fold has the classes in the shares of the whole; folds
    may differ in size. A unit that is alone with its class goes where fewest images are. Nothing is drawn at random.

    Args:
        labels: (N,) classes.
        units: (N,) names of what may not be divided, such as groups.
        folds: how many, 1 or more; with fewer units, some stay empty.

    >>> deal_folds([0, 0, 1, 1, 1], ["a", "b", "c", "c", "d"], 2).tolist()
    [0, 1, 0, 0, 1]
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for row, unit in enumerate(units):
        members[unit].append(row)
    y, found = np.asarray(labels, dtype=np.int64), np.zeros(len(labels), dtype=np.int64)
    held = np.zeros((folds, int(y.max(initial=0)) + 1), dtype=np.int64)  # images of each class
    counts = {unit: np.bincount(y[rows], minlength=held.shape[1]) for unit, rows in members.items()}
    having = np.sum([own > 0 for own in counts.values()], axis=0)  # units of each class
    for unit, rows in sorted(members.items(), key=lambda one: (-len(one[1]), one[1][0])):
        own = counts[unit]
        alone = bool((having[own > 0] == 1).all())
        found[rows] = fold = min(
            range(folds), key=lambda one: (int(held[one] @ own), int(held[one].sum()) if alone else 0, one)
        )
        held[fold] += own
    return found
