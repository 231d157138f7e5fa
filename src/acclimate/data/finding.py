"""Images without labels: files, folders and patterns, streamed."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from acclimate.counting import counted
from acclimate.data.formats import IMAGE_SUFFIXES
from acclimate.data.held import HeldImage, find_shards, held_images
from acclimate.data.listed import is_list, listed_images
from acclimate.data.unread import Kind, in_words, kind_of_file
from acclimate.data.walking import walk
from acclimate.errors import DataError

log = logging.getLogger("acclimate.data")

ImageSource = str | os.PathLike[str] | Image.Image | bytes | HeldImage


def find_images(sources: Iterable[ImageSource]) -> Iterator[ImageSource]:
    """Yield images of files, folders (searched to any depth, in name order) and glob patterns, one after another.

    Of files that hold many images, see `acclimate.data.held`, the images in them are yielded; one of these is named
    by the path of the file with its own name below it. Of a table with a column of paths those images are yielded.

    Raises:
        DataError: for a path or pattern that matches nothing, a folder without images, or a table without paths.
    """
    for source in sources:
        if isinstance(source, Image.Image | bytes | HeldImage):
            yield source
            continue
        path = Path(source)
        shards = find_shards(path)
        if shards:
            yield from held_images(shards)
        elif path.is_dir():
            yield from _in_folder(path)
        elif is_list(path):
            yield from (_placed(image) for image in listed_images(path))
        elif path.exists() or not glob.has_magic(str(path)):
            yield _placed(path)
        else:
            matches = sorted(glob.glob(str(path), recursive=True))
            if not matches:
                raise DataError(f"{path}: no file matches this pattern; check it, and quote it in the shell")
            yield from (Path(match) for match in matches)


def _placed(path: Path) -> ImageSource:
    """Return a path, or the image in a file of many that it names."""
    return path if path.exists() else HeldImage.at(path) or path


def _in_folder(folder: Path) -> Iterator[Path]:
    """Yield the images of a folder, and warn at its end of files that look like images but are not read."""
    unread: list[Kind] = []
    empty = True
    for entry in walk(folder):
        if entry.kind == "image":
            empty = False
            yield Path(entry.path)
        elif entry.kind == "other":
            kind = kind_of_file(entry.path)
            unread += [] if kind is None else [kind]
    if empty:
        found = f"; found {in_words(unread)}" if unread else ""
        raise DataError(f"{folder}: no image in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))}){found}")
    if unread:
        count = counted(len(unread), "file is", "files are")
        log.warning("%s: %s not read: %s", folder, count, in_words(unread))
