"""The one way to write a result, whole or not at all, and to read a file, if it is one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from acclimate.documents import load_json, read_text
from acclimate.errors import RunError

LOCK = ".lock"
STALE_SECONDS = 3600.0  # a temporary file of a process that cannot be asked after is left over when it is older


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically: a reader sees the old file or the new one, never a part, whenever the process dies.

    Raises:
        RunError: when it cannot be written.
    """
    part = part_of(path)
    try:
        remove_parts(path)
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


def part_of(path: Path) -> Path:
    """Return the name under which this process writes a file, or a folder, before it is whole."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.part")


def remove_parts(path: Path) -> None:
    """Remove what killed processes have left of a file, or a folder, that they were writing; of live ones, nothing."""
    beside = f".{path.name}."
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            if name.startswith(beside) and name.endswith(".part"):
                part = path.with_name(name)
                if _is_left_over(part, name.removeprefix(beside).removesuffix(".part")):
                    _remove(part)


def _is_left_over(part: Path, writer: str) -> bool:
    """Return whether nobody writes a part any more: its process is gone, or nothing has happened for long."""
    machine, _, process = writer.rpartition("-")
    if process.isdecimal() and int(process) == os.getpid() and machine == _machine():
        return False
    if process.isdecimal() and os.name == "posix" and machine == _machine():
        return not _is_alive(int(process))
    try:
        return time.time() - part.stat().st_mtime > STALE_SECONDS
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and does nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            part.unlink()


@cache
def _machine() -> str:
    """Return a short name for this machine: in a folder that several share, numbers of processes mean nothing."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


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


@contextlib.contextmanager
def claimed(folder: Path, busy: str) -> Iterator[None]:
    """Keep a folder to one process. The lock goes with the process, however that ends.

    Args:
        folder: it is there.
        busy: what to say where another process has it.

    Raises:
        RunError: so it is.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        with contextlib.suppress(NotImplementedError):  # a file system without locks
            lock.acquire()
    except Timeout:
        raise RunError(busy) from None
    except OSError as error:
        raise RunError(f"cannot write to the folder {folder}: {error.strerror}; choose another `out`") from None
    try:
        yield
    finally:
        lock.release()
