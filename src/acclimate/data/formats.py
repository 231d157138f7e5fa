"""The formats of images that are read, and no others."""

from __future__ import annotations

import os
from functools import cache

from PIL import Image

IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "bmp", "dib", "gif", "tif", "tiff", "webp"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "j2k", "avif", "tga"),
    )
)
"""File name endings, in lower case, that count as images in a folder."""

_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "TGA")


def is_image_name(path: str) -> bool:
    """Whether a file name ends like that of an image."""
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats.

    Whatever a file is called, Pillow tells its format by its content, and for EPS it starts a program.
    """
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)
