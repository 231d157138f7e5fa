"""Files are opened to be read only where they are files: what may never give or end is refused."""

from __future__ import annotations

import errno
import os
import stat
from typing import IO


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file to read its bytes; a pipe, a socket or a device, which may never give or end, is an `OSError`."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # `open` refuses a folder
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file", os.fspath(path))
    return open(path, "rb")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file; see `open_regular`."""
    with open_regular(path) as file:
        return file.read()
