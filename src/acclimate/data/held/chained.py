"""The images of several data sets one after the other, as one store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Store = Sequence[Mapping[str, Any]]


class ChainedImages(Sequence[Mapping[str, Any]]):
    """Stores, see `ImageData.store`, one after the other.

    Args:
        stores: one or more.

    Attributes:
        starts: where each begins, and where the last one ends.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
        self.starts = np.cumsum([0, *map(len, stores)]).tolist()

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self.starts[-1])

    def __getitem__(self, row: Any) -> Any:
        """Return the image of a row."""
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        store, inner = self.within(row)
        return store[inner]

    def within(self, row: int) -> tuple[Store, int]:
        """Return the store that an image is of, and its row there."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self._stores[number], row - self.starts[number]
