"""The one way to write a result, whole or not at all, and to read a file, if it is one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from acclimate.documents import load_json, read_text
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
    return load_json(read_text(path, RunError, next_step), str(path), RunError, next_step)


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
