"""Walks a folder: the one rule for which files in it are images, for data to learn from and for images to predict."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acclimate.data.formats import is_image_name
from acclimate.errors import DataError

SYSTEM_NAMES = frozenset(
    (
        *("thumbs.db", "desktop.ini", "__macosx", "$recycle.bin", "system volume information", "lost+found"),
        *("@eadir", "#recycle", "#snapshot"),  # of network drives, with thumbnails and deleted files
    )
)
"""Files and folders, in lower case, that systems leave in folders; they are passed over, as hidden ones are."""


@dataclass(frozen=True)
class Entry:
    """A file or a folder below the one that is walked.

    Attributes:
        parts: its name, behind those of the folders above it.
        path: where it is.
        kind: "image" for a regular file, or a link to one, with the ending of an image; "folder"; "other" for the
            rest, such as links to nowhere.
    """

    parts: tuple[str, ...]
    path: str
    kind: Literal["image", "folder", "other"]


def walk(root: str | os.PathLike[str]) -> Iterator[Entry]:
    """Yield what lies below `root`, a folder before its content, each folder in the order of the names.

    Hidden and system files are passed over. Links are followed, never in a circle. Nothing is opened.

    Raises:
        DataError: a folder that cannot be read.
    """
    yield from _walk(Path(root), (), ())


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a system's own."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _walk(folder: Path, parts: tuple[str, ...], above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
    try:
        status = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot read this folder ({(error.strerror or str(error)).lower()}); mend its permissions or "
            "remove it"
        ) from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    if parts:
        yield Entry(parts, str(folder), "folder")
    for entry in entries:
        if is_passed_over(entry.name):
            continue
        inner = (*parts, entry.name)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        if is_folder:
            yield from _walk(Path(entry.path), inner, (*above, here))
        elif is_file and is_image_name(entry.name):
            yield Entry(inner, entry.path, "image")
        else:
            yield Entry(inner, entry.path, "other")
