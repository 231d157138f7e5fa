"""`MultiLabelData`: images that may have several labels each, written with | between in the label column."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from acclimate.data.columns import texts
from acclimate.data.dataset import ImageData
from acclimate.errors import DataError

BETWEEN = "|"  # labels of an image; alone: it has none


def split_labels(name: str) -> list[str]:
    """Return the labels that a cell of the label column names.

    >>> split_labels("rain | night"), split_labels("rain"), split_labels("|")
    (['rain', 'night'], ['rain'], [])
    """
    return [label for part in name.split(BETWEEN) if (label := part.strip())]


def join_labels(labels: Iterable[str]) -> str:
    """Return labels as a cell of the label column names them: sorted, each once; of none, | alone.

    >>> join_labels(["rain", "night", "rain"]), join_labels([])
    ('night|rain', '|')
    """
    return BETWEEN.join(sorted(set(labels))) or BETWEEN


def rarest(targets: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each image (N,) which of its labels fewest images have, the first of several; K where it has none.

    What stays apart by it is spread evenly, the rarest label first, as in Sechidis et al. 2011, "On the stratification
    of multi-label data" (ECML PKDD), section 3.2.

    Args:
        targets: (N, K) whether an image has a label.

    >>> rarest(np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)).tolist()
    [1, 0, 2]
    """
    count, labels = targets.shape
    often = np.where(targets, targets.sum(0), count + 1)
    found: NDArray[np.int64] = np.where(targets.any(1), often.argmin(1) if labels else 0, labels).astype(np.int64)
    return found


@dataclass(frozen=True, eq=False, repr=False)
class MultiLabelData(ImageData):
    """Images that may have several labels each, or none.

    `class_names` are the labels, and the column `label` has those of an image, sorted, with | between. `labels` and
    `strata` tell of each image the rarest label that it has, which splits and folds keep in proportion.
    """

    task: ClassVar[str] = "multi-label"

    @classmethod
    def of(cls, data: ImageData) -> MultiLabelData:
        """Return images whose class names name several labels as data that has these.

        Raises:
            DataError: there is none.
        """
        told = [split_labels(name) for name in data.column("label")]
        names = tuple(sorted({label for labels in told for label in labels}))
        if not names:
            raise DataError(
                f"{data.name}: no image has a label; write them with '{BETWEEN}' between in the label column"
            )
        place = data.table.schema.get_field_index("label")
        table = data.table.set_column(place, "label", texts([join_labels(labels) for labels in told]))
        kept = {one.name: getattr(data, one.name) for one in dataclasses.fields(data)}
        return cls(**kept | {"table": table, "class_names": names})

    def __repr__(self) -> str:
        """Return name and size in a word."""
        labels = len(self.class_names)
        return f"MultiLabelData({self.name!r}, {len(self)} images, {labels} labels, split {self.split_origin})"

    def names_in(self, label: str) -> Sequence[str]:
        """Return the labels that a cell of the label column names."""
        return split_labels(label)

    @cached_property
    def targets(self) -> NDArray[np.bool_]:
        """Whether each image has each label, bool (N, K), in the order of `class_names`."""
        place = {name: number for number, name in enumerate(self.class_names)}
        found = np.zeros((len(self), len(place)), dtype=bool)
        for row, name in enumerate(self.column("label")):
            found[row, [place[label] for label in split_labels(name)]] = True
        return found

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The rarest label of every image, int64 (N,), an index into `class_names`; their number where it has none."""
        return rarest(self.targets)

    @property
    def label_names(self) -> list[str]:
        """The labels of every image, as the label column names them."""
        return self.column("label")

    @property
    def strata(self) -> list[str]:
        """The rarest label of every image, by name; | where it has none."""
        names = (*self.class_names, BETWEEN)
        return [names[label] for label in self.labels]

    def counts(self) -> dict[str, int]:
        """Return how many images have each label, zero included, in the order of `class_names`."""
        return dict(zip(self.class_names, self.targets.sum(0).tolist(), strict=True))

    def members(self) -> list[list[int]]:
        """Return the rows of each label that images have, and of the images that have none."""
        columns = [*self.targets.T, ~self.targets.any(1)]
        return [rows for column in columns if (rows := np.flatnonzero(column).tolist())]

    def filter_classes(self, names: Iterable[str]) -> NoReturn:
        """Refuse: what stays of an image without some of its labels is another question.

        Raises:
            DataError: always.
        """
        raise DataError(f"{self.name}: its images have several labels, and classes cannot be parted; use few-shot")
