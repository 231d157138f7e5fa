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

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from acclimate.data.opening import header
from acclimate.data.unread import HEAD, Kind, kind_of_content
from acclimate.errors import DataError

log = logging.getLogger("acclimate.data")

UNFILLED = (
    "of its 16-bit colours the upper 8 bits are read, and they fill less than half of the 16 bits, so that most is "
    "lost; scale such images to 8 bits first"
)
FOURTH_BAND = "it has a fourth band, which is not read; save the three bands to learn from as RGB"
FRAMES = "it holds several pages or frames, of which the first is read; save others as images of their own"

_PERCENTILES = (0.1, 99.9)
_BACKGROUND = (255, 255, 255)
_ORIENTATION = 0x0112


class UnreadableImage(DataError):
    """An image that cannot be decoded. `.file` names it and `.reason` says why, without a next step."""

    def __init__(self, file: str, reason: str, advice: str = "replace it or leave it out") -> None:
        self.file, self.reason, self.advice = file, reason, advice
        super().__init__(f"cannot read image {file!r}: {reason}; {advice}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the three arguments, so that the error crosses from worker processes."""
        return UnreadableImage, (self.file, self.reason, self.advice)


class Notices:
    """Warns of what is odd about images: of each oddity once, with the first image that has it."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, name: str, oddity: str) -> None:
        """Warn of an oddity of an image, if it was not done before."""
        if oddity not in self.said:
            self.said.add(oddity)
            warn(name, f"{oddity} (the first of such images; `acclimate data check DATA` lists all)")


def warn(name: str, oddity: str) -> None:
    """Warn of what is odd about an image."""
    log.warning("%s: %s", name, oddity)


def open_image(
    source: str | os.PathLike[str] | bytes,
    min_side: int | None = None,
    *,
    name: str | None = None,
    notice: Callable[[str, str], None] = warn,
) -> Image.Image:
    """Decode an image to 8-bit RGB (see the rules at the top of this module).

    Args:
        source: path of a file, or the bytes of one.
        min_side: a size hint in pixels. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, as long as its
            shorter side stays at least this long: several times faster for large photographs, with slightly different
            pixels. Other formats ignore it.
        name: what error messages call the image; the path by default.
        notice: called with the name, and with what is odd about the image, such as `FRAMES`.

    Raises:
        DataError: the file is missing, no image, damaged, cut short, or too large (`MAX_PIXELS`, `MAX_SIDE`).
    """
    label = name or ("<bytes>" if isinstance(source, bytes) else os.fspath(source))
    with decoding(label, source), header(source) as image:
        if min_side is not None and image.format == "JPEG":
            image.draft(None, (min_side, min_side))
        oddities = load(image)
        rgb = to_rgb(image)
    for oddity in oddities:
        notice(label, oddity)
    return rgb


def load(image: Image.Image) -> tuple[str, ...]:
    """Decode the pixels of an open image, and return what is odd about it: things that the rules do not do justice."""
    form, kind = image.format, _raw_mode(image)
    several = form != "MPO" and bool(getattr(image, "is_animated", False))
    image.load()
    unfilled = kind.endswith((";16B", ";16L", ";16N")) and int(np.asarray(image)[..., :3].max()) < 128
    found = {FRAMES: several, FOURTH_BAND: kind.startswith("RGBX"), UNFILLED: unfilled}
    return tuple(oddity for oddity, there in found.items() if there)


def _raw_mode(image: Image.Image) -> str:
    """Return how colours are laid out in the file of an image; nothing for grey, which has rules of its own."""
    tile = getattr(image, "tile", None)  # how Pillow will decode the file, until it has
    if image.mode not in ("RGB", "RGBA", "RGBX", "CMYK") or not tile:
        return ""
    arguments = tile[0][3]
    parts = arguments if isinstance(arguments, tuple) else (arguments,)
    return next((part for part in parts if isinstance(part, str)), "")


@contextmanager
def decoding(name: str, source: str | os.PathLike[str] | bytes | None = None) -> Iterator[None]:
    """Turn whatever Pillow and the system raise while image `name` is read into `UnreadableImage`.

    Args:
        name: what the error calls the image.
        source: its file or bytes, to say what it is where it is no image.
    """
    try:
        yield
    except UnreadableImage:
        raise
    # The decoders of Pillow raise nearly every built-in exception on damaged files; none of them is a bug of the
    # caller.
    except Exception as error:
        kind = _kind(source) if isinstance(error, UnidentifiedImageError) else None
        if kind is not None:
            raise UnreadableImage(name, f"it is no image that can be read: {kind.one} ({kind.step})") from error
        raise UnreadableImage(name, _reason(error, name)) from error


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


def _kind(source: str | os.PathLike[str] | bytes | None) -> Kind | None:
    """Tell the kind of what is no image."""
    if source is None or isinstance(source, bytes):
        return kind_of_content(source[:HEAD]) if source else None
    with open(source, "rb") as stream:
        return kind_of_content(stream.read(HEAD))


def _reason(error: Exception, name: str) -> str:
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, PermissionError):
        return "it is a folder" if os.path.isdir(name) else "no permission to read it"
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    text = " ".join(said.split()) or type(error).__name__
    return f"the file is truncated ({text})" if "truncated" in text.lower() else text
