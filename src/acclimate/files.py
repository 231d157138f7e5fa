"""The one way to write a result, whole or not at all, and to read a file, if it is one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

from acclimate.errors import RunError


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
        raise RunError(f"cannot write {path}: {error.strerror}; free some space or choose another `out`") from None
    finally:
        with contextlib.suppress(OSError):  # what stands in the way of the file may stand in the way of this, too
            part.unlink(missing_ok=True)


def remove_parts(path: Path) -> None:
    """Remove what a killed process has left of a file that it was writing: `.NAME.*` beside it."""
    for part in path.parent.glob(f".{path.name}.*"):
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically: a reader sees the old file or the new one, never a part.

    Raises:
        RunError: when the file cannot be written.
    """
    replace_file(path, (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, next_step: str) -> Any:
    """Read a JSON file.

    Raises:
        RunError: when it is missing or not JSON, with `next_step`.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; {next_step}") from None
    except ValueError as error:
        raise RunError(f"{path} is not valid JSON ({error}); {next_step}") from None


def fingerprint(content: Any) -> str:
    """Return a sha256 (hex) of plain content, the same for equal content on every machine."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def make_folder(out: Path) -> set[str]:
    """Make a folder, or accept the one that is there, and return the names in it that are not hidden.

    Raises:
        RunError: when `out` is a file or cannot be made or read.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file; name a folder with `out`")
    try:
        out.mkdir(parents=True, exist_ok=True)
        return {entry.name for entry in out.iterdir() if not entry.name.startswith(".")}
    except OSError as error:
        raise RunError(f"cannot make the folder {out}: {error.strerror}; choose another `out`") from None


def file_digest(path: Path) -> str:
    """Return the sha256 (hex) of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
