"""What is to be predicted, cut into parts that one process does in a few minutes and that are written one by one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from acclimate.data.finding import find_images
from acclimate.data.held import find_shards

ROWS = 4096  # images of a part


@dataclass(frozen=True)
class Part:
    """Images that are predicted together, and the file of their rows.

    Attributes:
        number: its place among the parts, from 0.
        images: absolute paths of files, or of images in files that hold many; or the one such file that it is about.
        count: how many images these are; none of a file that holds many, which is read where it is predicted.
        digest: tells it from a part with other images: of their names, sizes and times of change.
    """

    number: int
    images: tuple[str, ...]
    count: int | None
    digest: str

    @property
    def file(self) -> str:
        """Name of the file with its rows. The digest is part of it: a file that is there is that of these images."""
        return f"part-{self.number:06}-{self.digest}.parquet"


def find_parts(sources: Iterable[str | os.PathLike[str]], rows: int = ROWS) -> list[Part]:
    """Return the parts of files, folders, patterns, lists and shards, in their order.

    A file that holds many images is a part of its own, of whatever size; all others are counted off.

    Args:
        sources: as in `acclimate.data.finding.find_images`.
        rows: images of a part, 1 or more.

    Raises:
        DataError: as in `find_images`.
    """
    parts: list[Part] = []
    pending: list[str] = []

    def cut() -> None:
        if pending:
            parts.append(_part(len(parts), pending, len(pending)))
            pending.clear()

    for source in sources:
        shards = find_shards(source)
        if shards:
            cut()
            parts += [_part(len(parts) + number, [os.path.abspath(file)], None) for number, file in enumerate(shards)]
            continue
        for image in find_images([Path(source)]):
            pending.append(os.path.abspath(str(image)))
            if len(pending) == rows:
                cut()
    cut()
    return parts


def _part(number: int, images: list[str], count: int | None) -> Part:
    told = hashlib.sha256()
    for image in images:
        told.update(os.fsencode(f"{image}\n{_state(image)}\n"))
    return Part(number, tuple(images), count, told.hexdigest()[:12])


def _state(image: str) -> str:
    """Return the size and the time of change of a file; nothing where there is none, or a place in another."""
    try:
        found = os.stat(image)
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
