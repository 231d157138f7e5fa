"""From a file or its bytes to an 8-bit RGB image, by stated rules, so that every reader sees the same pixels.

The rules, in the order in which they apply:

- Of a file with several frames or pages (TIFF, GIF, MPO) the first is used.
- EXIF orientation is applied.
- Values without data (those that a TIFF names in its tag 42113, as GDAL writes it, and those that are not finite) are
  left out of what is looked at below, and become black.
- Whole numbers of which none is above 255 are 8-bit data in a wide file, and are kept as they are.
- 16-bit grey whose largest value is at least half of the type's range is divided by 257 (the range of the type,
  0..65535, to 0..255). Otherwise (12-bit detectors in 16-bit files, signed or 32-bit integers, floats) the values
  between the 0.1 and the 99.9 percentile of this image are stretched linearly to 0..255 and the rest is clipped. A
  constant image becomes black. Complex values count by their size. Where a TIFF says that white is zero, the result is
  inverted.
- 16-bit RGB whose largest value is at least half of the range is divided by 256. Other 16-bit RGB, and all TIFF files
  of bands that are no plain RGB, are stretched between the 2 and the 98 percentile of the values in the three bands
  that are shown, together, so that the relations of the bands, which tell water from wood, are kept. The stretch
  depends on the image alone, so that an image is the same in learning and in prediction. Bands of 8 bits are kept.
- The bands that are wanted are shown; else the first three, of two the first, the second and the first.
- Transparency is composited on white, so that dark drawings on a transparent ground stay visible.
- Everything else (1-bit, grey, palette, CMYK, YCbCr, HSV, Lab) is converted to RGB by Pillow.

A file that ends early is an error, never an image with a grey rest.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from acclimate.data.formats import is_there
from acclimate.data.levels import is_stretched, valid_of
from acclimate.data.opening import MAX_PIXELS, check_bands, header
from acclimate.data.tiffs import SEEN, Seen
from acclimate.data.unread import HEAD, Kind, kind_of_content
from acclimate.data.wide import ORIENTATION, WIDE, grey_of, no_data, restore_depth, wide_values
from acclimate.errors import DataError

log = logging.getLogger("acclimate.data")

UNFILLED = (
    "of its 16-bit inks the upper 8 bits are read, and they fill less than half of the 16 bits, so that most is "
    "lost; scale such images to 8 bits first"
)
FOURTH_BAND = "it has a fourth band, which is not read; save the three bands to learn from as RGB"
FRAMES = "it holds several pages or frames, of which the first is read; save others as images of their own"

OF_BANDS = "it has {} bands, of which 1, 2 and 3 are shown as red, green and blue; choose others with `bands='4,3,2'`"

_PAGE_KIND, _COPY = 254, 1 | 4  # the tag of a TIFF that says of a page that it is a reduced copy, or a mask
_MOST_COPIES = 32
_BACKGROUND = (255, 255, 255)


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
    bands: Sequence[int] | None = None,
    most_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Decode an image to 8-bit RGB (see the rules at the top of this module).

    Args:
        source: path of a file, or the bytes of one.
        min_side: a size hint in pixels. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its size, as long as its
            shorter side stays at least this long: several times faster for large photographs, with slightly different
            pixels. Other formats ignore it.
        name: what error messages call the image; the path by default.
        notice: called with the name, and with what is odd about the image, such as `FRAMES`.
        bands: three bands to be shown as red, green and blue, or one to be shown as grey, counted from 1; none for the
            first three.
        most_pixels: largest width x height that is opened.

    Raises:
        DataError: the file is missing, no image, damaged, cut short, or too large (`most_pixels`, `MAX_SIDE`).
    """
    label = name or ("<bytes>" if isinstance(source, bytes) else os.fspath(source))
    with decoding(label, source), header(source, bands, most_pixels) as image:
        if min_side is not None and image.format == "JPEG":
            image.draft(None, (min_side, min_side))
        developed = develop(image, lambda: header(source, most_pixels=most_pixels), bands)
    for oddity in developed.oddities:
        notice(label, oddity)
    return developed.rgb


class Developed(NamedTuple):
    """An image as it is looked at, what the rules do not do justice in its file, and what else was seen of the file."""

    rgb: Image.Image
    oddities: tuple[str, ...]
    seen: Seen


def develop(image: Image.Image, again: Callable[[], Image.Image], bands: Sequence[int] | None = None) -> Developed:
    """Decode an open image by the rules above.

    Args:
        image: as `acclimate.data.opening.header` opened it; its pixels are loaded in place.
        again: opens it once more.
        bands: those that are wanted, as in `open_image`.
    """
    kind, seen = _raw_mode(image), image.info.get(SEEN)
    several = _is_several(image)
    image.load()
    if seen is not None and image.format == "TIFF":  # its bands were chosen and scaled when it was opened
        more = (OF_BANDS.format(seen.bands),) if seen.bands > 3 and bands is None else ()
        return Developed(to_rgb(image), more, seen)
    unfilled = kind.endswith(WIDE) and int(np.asarray(image)[..., :3].max()) < 128
    deep = unfilled and image.mode != "CMYK"
    if deep:
        restore_depth(image, again)
    found = {FRAMES: several, FOURTH_BAND: kind.startswith("RGBX"), UNFILLED: unfilled and not deep}
    values = wide_values(image)
    valid = None if values is None else valid_of(values, no_data(image))
    stretched = deep or (values is not None and valid is not None and is_stretched(values, valid))
    seen = seen or Seen(image.size, stretched=stretched, no_data=0.0 if valid is None else float(1 - valid.mean()))
    rgb = to_rgb(image)
    if bands is not None:
        check_bands(bands, 1 if values is not None or image.mode in ("1", "L", "LA", "La") else 3)
        rgb = Image.merge("RGB", [rgb.getchannel(band - 1) for band in (bands if len(bands) == 3 else [*bands] * 3)])
    return Developed(rgb, tuple(oddity for oddity, there in found.items() if there), seen)


def _is_several(image: Image.Image) -> bool:
    """Return whether a file holds further images beside its first one, rather than smaller copies or masks of it."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return False
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return True
    try:
        for page in range(1, min(image.n_frames, _MOST_COPIES)):
            image.seek(page)
            if not image.tag_v2.get(_PAGE_KIND, 0) & _COPY:
                return True
    except Exception:  # a further page that is damaged
        return True
    finally:
        image.seek(0)
    return False


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
        if kind is not None and kind.extra and is_there(kind.extra):
            raise UnreadableImage(name, f"it is a {kind.one} that is damaged, or of a form that is not read") from error
        if kind is not None:
            raise UnreadableImage(name, f"it is no image that can be read: {kind.one} ({kind.step})") from error
        raise UnreadableImage(name, _reason(error, name)) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a decoded image of any mode upright and to 8-bit RGB by the rules above; never the same object."""
    values = wide_values(image)
    if values is not None:
        return _upright(grey_of(values, image)).convert("RGB")
    upright = _upright(image)
    mode = upright.mode
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
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except Exception:  # a broken EXIF block says nothing about the pixels
        return image
    return ImageOps.exif_transpose(image) if turned else image


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
