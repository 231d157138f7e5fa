"""What the caches of this package hold, and how they are emptied: of what is not ours, nothing is ever removed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from acclimate.data.cache import default_cache_dir

NAME = re.compile(r"[0-9a-f]{32}")  # of an entry: a hash of what it depends on
TEMPORARY = re.compile(r"\.[0-9a-f]{32}\..+\.part")  # of one that a killed process was writing
SHARD = re.compile(r"\d{20}-[0-9a-f]{12}\.(?:features|keys)\.npy(?:\.[0-9a-f]{8}\.tmp)?")
OTHERS = ("cache.json", "merge.lock")  # of an entry of features


@dataclass(frozen=True)
class Part:
    """One cache.

    Attributes:
        name: of its folder.
        holds: what is in it, in words.
        lost: what emptying it costs, in words.
        entries: the folders in it that are ours.
        size: bytes of their files.
    """

    name: str
    holds: str
    lost: str
    entries: tuple[Path, ...]
    size: int


KINDS = {
    "features": ("features of images and texts, by weights and transform", "they are computed again when needed"),
    "backbones": ("checkpoints of open_clip's layout in Hugging Face format", "they are written again when needed"),
}


def list_caches(root: Path | None = None) -> list[Part]:
    """Return what there is in each cache.

    Args:
        root: folder of all caches; none: the usual one.
    """
    root = default_cache_dir() if root is None else root
    parts = []
    for name, (holds, lost) in KINDS.items():
        entries = tuple(_entries(root / name))
        sizes = [_size(file) for entry in entries for file in _own_files(name, entry)]
        parts.append(Part(name, holds, lost, entries, sum(sizes)))
    return parts


def empty_cache(part: Part) -> int:
    """Remove what is ours of a cache, and return the bytes that were freed; what another process has just taken, stays.

    Args:
        part: as `list_caches` has returned it.
    """
    freed = 0
    for entry in part.entries:
        for file in _own_files(part.name, entry):
            size = _size(file)
            with suppress(OSError):
                file.unlink()
                freed += size
        if part.name == "backbones":  # folders within, if a tokenizer has some
            shutil.rmtree(entry, ignore_errors=True)
        with suppress(OSError):
            entry.rmdir()  # only if nothing else is in it
    for entry in {entry.parent for entry in part.entries}:
        with suppress(OSError):
            entry.rmdir()
    return freed


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the folders of a cache that bear its kind of name; links are not followed."""
    with suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            known = NAME.fullmatch(entry.name) or TEMPORARY.fullmatch(entry.name)
            if known and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)


def _own_files(name: str, entry: Path) -> Iterator[Path]:
    for path in sorted(entry.rglob("*") if name == "backbones" else entry.iterdir()):
        whole = name == "backbones" or SHARD.fullmatch(path.name) or path.name in OTHERS
        if whole and (path.is_file() or path.is_symlink()):
            yield path


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0
