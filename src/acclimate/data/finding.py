"""Images without labels: files, folders and patterns, streamed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from acclimate.data.images import IMAGE_SUFFIXES
from acclimate.errors import DataError

ImageSource = str | os.PathLike[str] | Image.Image | bytes


def find_images(sources: Iterable[ImageSource]) -> Iterator[ImageSource]:
    """Yield images of files, folders (searched to any depth, in name order) and glob patterns, one after another.

    Raises:
        DataError: for a path or pattern that matches nothing, or a folder without images.
    """
    for source in sources:
        if isinstance(source, Image.Image | bytes):
            yield source
            continue
        path = Path(source)
        if path.is_dir():
            first = next(images := _walk(path), None)
            if first is None:
                raise DataError(f"{path}: no image in this folder (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
            yield first
            yield from images
        elif path.exists() or not glob.has_magic(str(path)):
            yield path
        else:
            matches = sorted(glob.glob(str(path), recursive=True))
            if not matches:
                raise DataError(f"{path}: no file matches this pattern; check it, and quote it in the shell")
            yield from (Path(match) for match in matches)


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(Path(entry.path))
        elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
            yield Path(entry.path)
