"""The formats of images that are read, and no others."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec

from PIL import Image

IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "bmp", "dib", "gif", "tif", "tiff", "webp"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "j2k", "avif", "tga"),
    )
)
"""File name endings, in lower case, that count as images in a folder."""

EXTRAS = {
    "heif": ("pillow_heif", frozenset((".heic", ".heif", ".hif"))),
    "dicom": ("pydicom", frozenset((".dcm", ".dicom", ".ima"))),
}
"""Kinds of images that an extra of this name reads: its package, and the endings of their names, in lower case."""

_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "TGA")


def is_image_name(path: str) -> bool:
    """Whether a file name ends like that of an image that can be read here, with the extras that are installed."""
    ending = os.path.splitext(path)[1].lower()
    return ending in IMAGE_SUFFIXES or any(
        ending in endings and is_there(extra) for extra, (_, endings) in EXTRAS.items()
    )


def is_there(extra: str) -> bool:
    """Whether the package of one of `EXTRAS` is installed; it is not imported."""
    try:
        return find_spec(EXTRAS[extra][0]) is not None
    except (ImportError, ValueError):
        return False


@cache
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats.

    Whatever a file is called, Pillow tells its format by its content, and for EPS it starts a program.
    """
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)
