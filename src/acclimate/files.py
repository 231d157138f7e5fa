"""The one way to write a result: whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from acclimate.errors import RunError


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old file or the new one, never a part, whenever the process dies.

    Raises:
        RunError: when it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; free some space or choose another --out") from None
    finally:
        with contextlib.suppress(OSError):  # what stands in the way of the file may stand in the way of this, too
            part.unlink(missing_ok=True)


def remove_parts(path: Path) -> None:
    """Remove what a killed process has left of a file that it was writing: `.NAME.*` beside it."""
    for part in path.parent.glob(f".{path.name}.*"):
        part.unlink(missing_ok=True)
