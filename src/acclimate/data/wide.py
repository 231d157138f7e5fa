"""Numbers of more than 8 bits in images that Pillow opens: grey, and the colours of which it loads the upper bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from acclimate.data.levels import colour_levels, grey_levels, valid_of
from acclimate.data.tiffs import Form, form_of_tags

ORIENTATION = 0x0112
WIDE = (";16B", ";16L", ";16N")
"""How the layout of colours of 16 bits ends, in Pillow's words."""


def restore_depth(image: Image.Image, again: Callable[[], Image.Image]) -> None:
    """Stretch the 16-bit colours of an image, of which Pillow has loaded the upper bytes.

    Pillow reads one byte of two. Told that the file has the other byte order, it reads the other one.
    """
    with again() as other:
        assert isinstance(other, ImageFile.ImageFile)
        other.tile = [tile._replace(args=_swapped(tile.args)) for tile in other.tile]
        lower = np.asarray(other)[..., :3]
    values = np.asarray(image)[..., :3].astype(np.uint16) * 256 + lower
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    seen = None if alpha is None else np.asarray(alpha) > 0
    image.paste(Image.fromarray(colour_levels(values, no_data(image), seen)))
    if alpha is not None:
        image.putalpha(alpha)


def _swapped(arguments: Any) -> Any:
    """Return the arguments of a decoder with the other byte order."""
    native = "B" if sys.byteorder == "little" else "L"
    if isinstance(arguments, tuple):
        return tuple(_swapped(argument) for argument in arguments)
    if not isinstance(arguments, str) or not arguments.endswith(WIDE):
        return arguments
    return arguments[:-1] + {"L": "B", "B": "L", "N": native}[arguments[-1]]


def wide_values(image: Image.Image) -> np.ndarray | None:
    """Return the numbers (H, W) of grey that is not 8-bit; none for other images."""
    form = _tiff_form(image)
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        return values.view(np.uint32) if form is not None and (form.bits, form.numbers) == (32, 1) else values
    if image.mode == "L" and form is not None and form.numbers == 2:
        return np.asarray(image).view(np.int8)
    return None


def grey_of(values: np.ndarray, image: Image.Image) -> Image.Image:
    """Return the wide grey of an image as 8-bit grey, still turned as it is in the file."""
    form, levels = _tiff_form(image), grey_levels(values, no_data(image))
    if form is not None and form.photometric == 0:  # white is zero, which Pillow heeds in 8-bit grey only
        levels = np.where(valid_of(values, form.no_data), 255 - levels, 0).astype(np.uint8)
    grey = Image.fromarray(levels)
    with suppress(Exception):  # a broken EXIF block says nothing about the pixels
        grey.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return grey


def _tiff_form(image: Image.Image) -> Form | None:
    """Return the form of an image that Pillow opened from a TIFF."""
    tags = getattr(image, "tag_v2", None)
    if not tags:
        return None
    try:
        return form_of_tags(tags)
    except Exception:  # tags that are damaged say nothing
        return None


def no_data(image: Image.Image) -> float | None:
    """Return the value that means no data in an image from a TIFF."""
    form = _tiff_form(image)
    return None if form is None else form.no_data
