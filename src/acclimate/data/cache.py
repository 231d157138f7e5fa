"""A cache of frozen features on disk, safe under several processes.

A cache lives in a folder named by what the features depend on: weights, transform, width, number format, and what
computed them, which decides the last bits. It holds immutable shards, each a pair of npy files:
`<shard>.features.npy` (memory-mapped on reading) and `<shard>.keys.npy` (sha256 of the image bytes per row). Both are
written under a temporary name and moved into place, the keys last: a shard exists once its keys do, so a process
killed at any moment leaves nothing that is half true. Two processes may write the same rows; either copy serves, since
both are the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import DTypeLike, NDArray

from acclimate.counting import counted
from acclimate.data.cache_index import KeyIndex, pack

_logger = logging.getLogger("acclimate.data")

_KEYS, _FEATURES, _TEMPORARY = ".keys.npy", ".features.npy", ".tmp"
_SMALL_ROWS = 16_384  # shards below this are merged ...
_MANY_SMALL = 32  # ... once there are so many of them
_STALE_SECONDS = 3600.0  # temporary files and lone features older than this belong to a process that died


def default_cache_dir() -> Path:
    """Return the folder for caches: `$ACCLIMATE_CACHE`, else `$XDG_CACHE_HOME/acclimate`, else `~/.cache/acclimate`."""
    if chosen := os.environ.get("ACCLIMATE_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "acclimate"


def row_key(digest: str, view: str = "") -> str:
    """Return the key of one row: the sha256 of the image bytes, or of that and the view of the image.

    Args:
        digest: sha256 of the image bytes, 64 hex digits.
        view: what was done to the image before the transform, such as the seed and number of an augmented view.
    """
    return hashlib.sha256(f"{digest}\n{view}".encode()).hexdigest() if view else digest


class FeatureCache:
    """Features of images under fixed weights and a fixed transform, one row per key.

    A disk that is full or cannot be written is no error: one warning is logged, and what is computed is just not kept.

    Args:
        root: folder of all caches, such as `default_cache_dir() / "features"`.
        weights_fingerprint: names the weights that made the features.
        transform_fingerprint: names the image transform.
        dim: width D of a row.
        dtype: float32 or float16.
        flush_rows: rows that `get_or_compute` gathers before it writes them.
        flush_seconds: seconds after which it writes what it has: the most that a killed process loses.
        computed: names what else decides the last bits of a feature, such as the device and the library.
    """

    def __init__(
        self,
        root: str | Path,
        weights_fingerprint: str,
        transform_fingerprint: str,
        dim: int,
        dtype: DTypeLike = np.float32,
        *,
        flush_rows: int = 2048,
        flush_seconds: float = 5.0,
        computed: str = "",
    ) -> None:
        self.dim, self.dtype = int(dim), np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float16)) or self.dim < 1:
            raise ValueError(f"a cache holds float32 or float16 rows of at least one number, not {dtype} x {dim}")
        identity = {
            "weights": weights_fingerprint,
            "transform": transform_fingerprint,
            "dim": self.dim,
            "dtype": self.dtype.name,
        } | ({"computed": computed} if computed else {})
        text = json.dumps(identity, sort_keys=True)
        self.path = Path(root) / hashlib.sha256(text.encode()).hexdigest()[:32]
        self._flush_rows, self._flush_seconds = max(1, flush_rows), flush_seconds
        self._writable = True
        self._shards: dict[str, NDArray[Any]] = {}
        self._bad: set[str] = set()
        self._index = KeyIndex()
        with self._forgiving("make"):
            self.path.mkdir(parents=True, exist_ok=True)
            if not (self.path / "cache.json").exists():
                self._publish(self.path / "cache.json", lambda file: file.write(text.encode()))
            self._sweep()

    def __len__(self) -> int:
        """Return the number of rows on disk, copies of the same key included."""
        self.refresh()
        return len(self._index)

    def get(self, keys: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Look rows up.

        Args:
            keys: N keys, 64 hex digits each.

        Returns:
            Features `(N, D)`, zeros where a key is not there, and a mask `(N,)` of those that are.
        """
        self.refresh()
        found = np.zeros(len(keys), dtype=bool)
        features = np.zeros((len(keys), self.dim), dtype=self.dtype)
        for shard, positions, rows in self._index.find(pack(keys)):
            features[positions] = self._shards[shard][rows]
            found[positions] = True
        return features, found

    def put(self, keys: Sequence[str], features: NDArray[Any]) -> None:
        """Keep rows. Rows that are not finite in the number format of the cache are left out.

        Args:
            keys: N keys.
            features: `(N, D)`.

        Raises:
            ValueError: the shape is not `(N, D)`.
        """
        packed, rows = pack(keys), self._cast(features)
        if rows.shape != (len(keys), self.dim):
            raise ValueError(f"{len(keys)} keys, but features {rows.shape} instead of ({len(keys)}, {self.dim})")
        finite = np.isfinite(rows).all(1)
        if not finite.all():
            _logger.warning("%s not cached (NaN or infinite)", counted(int((~finite).sum()), "feature row"))
            packed, rows = packed[finite], rows[finite]
        if len(rows) and self._writable:
            with self._forgiving("write"):
                self._write_shard(packed, rows)
                self._merge_small()

    def get_or_compute(
        self, keys: Sequence[str], compute: Callable[[list[int]], NDArray[Any]], batch_size: int = 64
    ) -> NDArray[Any]:
        """Return the rows of all keys, computing those that are not there.

        Finished rows are written as the work goes on, so that a killed process goes on where it was. Equal keys are
        computed once.

        Args:
            keys: N keys.
            compute: gets a list of positions in `keys` and returns their features, one row each.
            batch_size: positions per call.

        Returns:
            `(N, D)` in the number format of the cache, the same whether computed or read.

        Raises:
            ValueError: `compute` returned another shape.
        """
        features, found = self.get(keys)
        first: dict[str, int] = {}
        for position in np.flatnonzero(~found).tolist():
            first.setdefault(keys[position], int(position))
        todo = list(first.values())
        pending: list[int] = []
        last = time.monotonic()
        try:
            for start in range(0, len(todo), batch_size):
                batch = todo[start : start + batch_size]
                rows = self._cast(compute(batch))
                if rows.shape != (len(batch), self.dim):
                    raise ValueError(f"features {rows.shape} instead of ({len(batch)}, {self.dim})")
                features[batch] = rows
                pending += batch
                if len(pending) >= self._flush_rows or time.monotonic() - last >= self._flush_seconds:
                    ready, pending = pending, []
                    self.put([keys[i] for i in ready], features[ready])
                    last = time.monotonic()
        finally:  # also what was done before an error or Ctrl-C
            if pending:
                self.put([keys[i] for i in pending], features[pending])
        for position in np.flatnonzero(~found).tolist():
            features[position] = features[first[keys[position]]]
        return features

    def refresh(self) -> None:
        """Take notice of shards that were added, merged or removed by any process."""
        # A shard may be merged away between listing and opening; its successor is there by then, so look again.
        for attempt in range(3):
            names = self._list(_KEYS)
            vanished = False
            for name in sorted(names - self._shards.keys() - self._bad):
                try:
                    keys, rows = self._open(name)
                except (ValueError, OSError, EOFError) as error:
                    vanished = isinstance(error, FileNotFoundError)
                    if not vanished or attempt == 2:
                        self._set_aside(name, error)
                    continue
                self._shards[name] = rows
                self._index.add(name, keys)
            for name in self._shards.keys() - names:  # merged: the rows are in another shard
                self._index.remove(name)
                del self._shards[name]
            if not vanished:
                return

    def _open(self, name: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        keys = np.load(self.path / (name + _KEYS), allow_pickle=False)
        rows = np.load(self.path / (name + _FEATURES), mmap_mode="r", allow_pickle=False)
        if keys.dtype != np.uint8 or keys.shape != (len(rows), 32) or rows.shape[1:] != (self.dim,):
            raise ValueError(f"keys {keys.shape} {keys.dtype} and features {rows.shape} do not fit")
        if rows.dtype != self.dtype:
            raise ValueError(f"features are {rows.dtype}, not {self.dtype}")
        return keys, rows

    def _set_aside(self, name: str, error: Exception) -> None:
        self._bad.add(name)
        _logger.warning("%s: damaged cache shard, its rows are computed again (%s)", self.path / name, error)
        if isinstance(error, ValueError | EOFError | FileNotFoundError):  # for certain damaged, not just unreadable now
            self._remove(name + _KEYS)

    def _write_shard(self, keys: NDArray[np.uint8], rows: NDArray[Any]) -> str:
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"
        self._publish(self.path / (name + _FEATURES), lambda file: _save(file, rows))
        self._publish(self.path / (name + _KEYS), lambda file: _save(file, keys))
        return name

    def _publish(self, path: Path, write: Callable[[IO[bytes]], Any]) -> None:
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{_TEMPORARY}")
        try:
            with open(temporary, "xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())  # the content must be on disk before the name is
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def _merge_small(self) -> None:
        """Merge small shards into one, where there are many and no other process is at it."""
        if len(self._list(_KEYS)) < _MANY_SMALL:
            return
        self.refresh()
        if sum(len(rows) < _SMALL_ROWS for rows in self._shards.values()) < _MANY_SMALL:
            return
        # The lock belongs to the open file, so the system frees it when its process dies: it never goes stale.
        with contextlib.suppress(Timeout, NotImplementedError), FileLock(self.path / "merge.lock", timeout=0):
            self.refresh()
            small = sorted(name for name, rows in self._shards.items() if len(rows) < _SMALL_ROWS)
            if len(small) < _MANY_SMALL:
                return
            keys = np.concatenate([self._index.keys_of(name) for name in small])
            rows = np.concatenate([self._shards[name] for name in small])
            _, unique = np.unique(keys, axis=0, return_index=True)
            self._write_shard(keys[unique], rows[unique])
            # Only now is the old copy taken away, keys first. Readers that have it mapped keep it until they let go.
            for name in small:
                self._remove(name + _KEYS)
                self._remove(name + _FEATURES)
            self._sweep()
            self.refresh()

    def _sweep(self) -> None:
        """Remove what killed writers left behind."""
        shards = self._list(_KEYS)
        for entry in os.scandir(self.path):
            lone = entry.name.endswith(_FEATURES) and entry.name.removesuffix(_FEATURES) not in shards
            if entry.name.endswith(_TEMPORARY) or lone:
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                        self._remove(entry.name)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self.path / name).unlink()

    def _list(self, suffix: str) -> set[str]:
        try:
            return {name.removesuffix(suffix) for name in os.listdir(self.path) if name.endswith(suffix)}
        except OSError:
            return set()

    def _cast(self, features: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore"):  # too large for float16: not finite, and therefore not kept
            return np.ascontiguousarray(features, dtype=self.dtype)

    @contextlib.contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._writable = False
            reason = error.strerror or type(error).__name__
            _logger.warning("%s: cannot %s the feature cache (%s); going on without", self.path, what, reason)


class _Stream:
    """A file that numpy does not know for a real one."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def _save(file: IO[bytes], array: NDArray[Any]) -> None:
    # numpy writes to real files through the C library and does not notice when its last, buffered bytes fail to reach a
    # full disk. Python's own file raises.
    np.save(_Stream(file), array, allow_pickle=False)
