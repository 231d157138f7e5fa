"""From a file or its bytes to an 8-bit RGB image, by stated rules, so that every reader sees the same pixels.

The rules, in the order in which they apply:

- Of a file with several frames or pages (TIFF, GIF, MPO) the first is used.
- EXIF orientation is applied.
- 16-bit grey whose largest value is at least half of the type's range is divided by 257 (the range of the type,
  0..65535, to 0..255). Otherwise (12-bit detectors in 16-bit files, signed or 32-bit integers, floats) the values
  between the 0.1 and the 99.9 percentile of this image are stretched linearly to 0..255 and the rest is clipped;
  values that are not finite become black, and so does a constant image. When every integer value is at most 255 the
  image is 8-bit data in a wide file and is kept as it is.
- Transparency is composited on white, so that dark drawings on a transparent ground stay visible.
- Everything else (1-bit, grey, palette, CMYK, YCbCr, HSV, Lab) is converted to RGB by Pillow.

A file that ends early is an error, never an image with a grey rest.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from acclimate.errors import DataError

MAX_PIXELS = 2**29
"""Largest width x height that is opened (about 23,000 x 23,000; 1.6 GB as RGB). Pillow's own guard stops far lower."""

IMAGE_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "bmp", "dib", "gif", "tif", "tiff", "webp"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "j2k", "avif", "tga"),
    )
)
"""File name endings, in lower case, that count as images in a folder."""

_PERCENTILES = (0.1, 99.9)
_BACKGROUND = (255, 255, 255)
_ORIENTATION = 0x0112

_guard = threading.Lock()


def _new_guard() -> None:
    """Replace the lock in a forked child, where the thread that may have held it does not exist."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_guard)


class UnreadableImage(DataError):
    """An image that cannot be decoded. `.file` names it and `.reason` says why, without a next step."""

    def __init__(self, file: str, reason: str, advice: str = "replace it or leave it out") -> None:
        self.file, self.reason, self.advice = file, reason, advice
        super().__init__(f"cannot read image {file!r}: {reason}; {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the three arguments, so that the error crosses from worker processes."""
        return UnreadableImage, (self.file, self.reason, self.advice)


def open_image(
    source: str | os.PathLike[str] | bytes, min_side: int | None = None, *, name: str | None = None
) -> Image.Image:
    """Decode an image to 8-bit RGB (see the rules at the top of this module).

    Args:
        source: path of a file, or the bytes of one.
        min_side: a size hint in pixels. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, as long as its
            shorter side stays at least this long: several times faster for large photographs, with slightly different
            pixels. Other formats ignore it.
        name: what error messages call the image; the path by default.

    Raises:
        DataError: the file is missing, no image, damaged, cut short, or larger than `MAX_PIXELS`.
    """
    label = name or ("<bytes>" if isinstance(source, bytes) else os.fspath(source))
    with decoding(label), _open(source) as image:
        if min_side is not None and image.format == "JPEG":
            image.draft(None, (min_side, min_side))
        image.load()
        return to_rgb(image)


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn whatever Pillow and the system raise while image `name` is read into `UnreadableImage`."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    # The decoders of Pillow raise nearly every built-in exception on damaged files; none of them is a bug of the
    # caller.
    except Exception as error:
        raise UnreadableImage(name, _reason(error, name)) from error


def header(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """Open an image without decoding its pixels; the caller closes it. Raises what Pillow raises."""
    return _open(source)


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a decoded image of any mode upright and to 8-bit RGB by the rules above; never the same object."""
    upright = _upright(image)
    mode = upright.mode
    if mode in ("F", "I") or mode.startswith("I;16"):
        return Image.fromarray(_eight_bit(np.asarray(upright))).convert("RGB")
    if mode in ("RGBa", "La"):
        upright = upright.convert(mode[:-1] + "A")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (*_BACKGROUND, 255))
        ground.alpha_composite(layer)
        return ground.convert("RGB")
    if mode == "LAB":
        return _lab_to_rgb(upright)
    rgb = upright.convert("RGB")
    return rgb.copy() if rgb is image else rgb


def _open(source: str | os.PathLike[str] | bytes) -> Image.Image:
    if isinstance(source, bytes) and not source:
        raise ValueError("the file is empty (0 bytes)")
    if not isinstance(source, bytes) and os.path.isfile(source) and os.path.getsize(source) == 0:
        raise ValueError("the file is empty (0 bytes)")
    stream = io.BytesIO(source) if isinstance(source, bytes) else Path(source)
    # The guard of Pillow is one global number, read while a file is opened. It is changed for just that moment, by one
    # thread at a time.
    with _guard:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(stream)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ValueError(
            f"{width} x {height} pixels are more than the {MAX_PIXELS:,} that are opened (cut it into tiles)"
        )
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if turned else image


def _eight_bit(values: np.ndarray) -> np.ndarray:
    """Scale a wide grey image (H, W) to uint8 by the rule at the top of this module."""
    wide = values.astype(np.float64)
    finite = np.isfinite(wide)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    lowest, highest = float(wide[finite].min()), float(wide[finite].max())
    if values.dtype.kind in "iu" and lowest >= 0 and highest <= 255:
        return values.astype(np.uint8)
    if values.dtype.kind in "iu" and lowest >= 0 and 2**15 <= highest < 2**16:
        return np.rint(wide / 257).astype(np.uint8)
    low, high = (float(value) for value in np.percentile(wide[finite], _PERCENTILES))
    if high <= low:
        low, high = lowest, highest
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    wide[~finite] = low
    return np.rint(np.clip((wide - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None  # only an in-place conversion returns nothing
    return converted


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, PermissionError):
        return "it is a folder" if os.path.isdir(name) else "no permission to read it"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    text = " ".join(str(error).split()) or type(error).__name__
    return f"the file is truncated ({text})" if "truncated" in text.lower() else text
