"""Where the rows of a feature cache are, by key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


class KeyIndex:
    """Where each key is: sorted by the first eight bytes of the key, which 32 full bytes then confirm."""

    def __init__(self) -> None:
        self._keys: dict[str, NDArray[np.uint8]] = {}
        self._names: list[str] = []
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def keys_of(self, name: str) -> NDArray[np.uint8]:
        """Return the keys (N, 32) of a shard."""
        return self._keys[name]

    def add(self, name: str, keys: NDArray[np.uint8]) -> None:
        """Take in a shard with its keys (N, 32)."""
        self._keys[name], self._sorted = keys, None

    def remove(self, name: str) -> None:
        """Forget a shard."""
        del self._keys[name]
        self._sorted = None

    def find(self, queries: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield shard, positions among the queries, and rows in the shard."""
        if not self._keys or not len(queries):
            return
        prefixes, keys, shards, rows = self._sort()
        wanted = prefix(queries)
        place = np.searchsorted(prefixes, wanted)
        where = np.full(len(queries), -1)
        open_ = np.arange(len(queries))
        while len(open_):  # more than one round only where two keys begin with the same eight bytes
            open_ = open_[place[open_] < len(prefixes)]
            open_ = open_[prefixes[place[open_]] == wanted[open_]]
            same = (keys[place[open_]] == queries[open_]).all(1)
            where[open_[same]] = place[open_[same]]
            open_ = open_[~same]
            place[open_] += 1
        hit = np.flatnonzero(where >= 0)
        shard_of = shards[where[hit]]
        for shard in np.unique(shard_of):
            positions = hit[shard_of == shard]
            yield self._names[shard], positions, rows[where[positions]]

    def _sort(self) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        if self._sorted is None:
            self._names = sorted(self._keys)
            keys = np.concatenate([self._keys[name] for name in self._names])
            lengths = [len(self._keys[name]) for name in self._names]
            shards = np.repeat(np.arange(len(self._names)), lengths)
            rows = np.concatenate([np.arange(length) for length in lengths])
            order = np.argsort(prefix(keys), kind="stable")
            self._sorted = (prefix(keys)[order], keys[order], shards[order], rows[order])
        return self._sorted


def prefix(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the first eight bytes of each key (N, 32) as one number (N,)."""
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64).ravel()


def pack(keys: Sequence[str]) -> NDArray[np.uint8]:
    """Return keys of 64 hex digits as bytes (N, 32)."""
    for key in keys:
        if len(key) != 64:
            raise ValueError(f"cache key {key!r} is no sha256 in 64 hex digits")
    return np.frombuffer(bytes.fromhex("".join(keys)), dtype=np.uint8).reshape(len(keys), 32)
