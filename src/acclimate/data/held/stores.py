"""Stores of encoded images, see `ImageData.store`, and several of them one after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Store = Sequence[Mapping[str, Any]]


class Images(Sequence[Mapping[str, Any]]):
    """Images as `ImageData.store` has them, each read when it is asked for."""

    def __getitem__(self, row: Any) -> Any:
        """Return the image of a row; raises an `OSError` where it cannot be read."""
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        return {"image": self.cell(row)}

    @abstractmethod
    def cell(self, row: int) -> Any:
        """Return `{"bytes": ..., "path": ...}` of a row, of which either may be None."""


class Parts:
    """Rows of several parts, one after the other.

    Args:
        sizes: of the parts.

    Attributes:
        starts: where each begins, and where the last one ends.
    """

    def __init__(self, sizes: Iterable[int]) -> None:
        self.starts: list[int] = np.cumsum([0, *sizes]).tolist()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.starts[-1]

    def find(self, row: int) -> tuple[int, int]:
        """Return which part a row is in, and its place there."""
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return number, row - self.starts[number]


class ChainedImages(Images):
    """Stores one after the other.

    Args:
        stores: one or more.

    Attributes:
        starts: where each begins, and where the last one ends.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores, self._parts = stores, Parts(map(len, stores))
        self.starts = self._parts.starts

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._parts)

    def cell(self, row: int) -> Any:
        """Return the image of a row."""
        store, inner = self.within(row)
        return store[inner]["image"]

    def within(self, row: int) -> tuple[Store, int]:
        """Return the store that an image is of, and its row there."""
        number, inner = self._parts.find(row)
        return self._stores[number], inner
