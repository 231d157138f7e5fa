"""Thumbnails of images as text that stands in a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from acclimate.data.held import open_place
from acclimate.errors import AcclimateError

SIDE = 160  # pixels of the longer side of a thumbnail
SMALL = 72  # the same of one that stands below another
QUALITY = 78  # of JPEG; a thumbnail takes about 6 kB


Thumbnail = Callable[..., str]
"""Makes a small copy of an image, as `Thumbnails.of` does."""


class Thumbnails:
    """Thumbnails by the path of the image, each made once, and not more than a number of them.

    Args:
        most: how many are made.
    """

    def __init__(self, most: int = 400) -> None:
        self.most = most
        self._made: dict[tuple[str, int, tuple[int, ...]], str] = {}

    def of(self, row: Mapping[str, Any], side: int = SIDE, bands: Sequence[int] | None = None) -> str:
        """Return an image as a `data:` address; empty where it is not there any more, or cannot be read.

        Args:
            row: has its `path`, or none where it was held in memory.
            side: pixels of the longer side, at most.
            bands: those that are shown, as in `open_image`.
        """
        path = row.get("path")
        if not path:
            return ""
        made = (path, side, tuple(bands or ()))
        if made not in self._made:
            if len(self._made) >= self.most:
                return ""
            self._made[made] = _thumbnail(Path(path), side, bands)
        return self._made[made]


def _thumbnail(path: Path, side: int, bands: Sequence[int] | None) -> str:
    try:
        image = open_place(path, bands=bands)
    except (AcclimateError, OSError):
        return ""
    image.thumbnail((side, side))
    return embedded(image)


def embedded(image: Image.Image) -> str:
    """Return an image as a `data:` address."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
