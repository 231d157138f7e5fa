"""A file without a name in which pieces of bytes are kept by their place."""

from __future__ import annotations

import tempfile
import threading
from typing import IO, Any


class Spool:
    """Pieces of bytes on disk, in the folder for temporary files; they are gone with the process.

    Safe under several threads. A copy, such as a pickled one, begins empty.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._end = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as an empty one."""
        return Spool, ()

    def add(self, piece: bytes) -> int:
        """Keep bytes, and return where they begin.

        Raises:
            OSError: the disk is full.
        """
        with self._lock:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  (it is closed with this object)
            start = self._end
            self._file.seek(start)
            self._file.write(piece)
            self._end += len(piece)
            return start

    def read(self, start: int, size: int) -> bytes:
        """Return so many bytes from a place on."""
        with self._lock:
            assert self._file is not None
            self._file.seek(start)
            return self._file.read(size)
