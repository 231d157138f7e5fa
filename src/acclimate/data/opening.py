"""Opening the file of an image without decoding its pixels: only regular files of the listed formats, within bounds."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from acclimate.counting import counted
from acclimate.data.dicom import read_dicom
from acclimate.data.formats import formats, is_there
from acclimate.data.tiffs import LARGE, Form, form_of, read_bands
from acclimate.data.unread import DICOM, HEAD, kind_of_content
from acclimate.extras import require
from acclimate.opening import open_regular

MAX_PIXELS = 2**29
"""Largest width x height that is opened (about 23,000 x 23,000; 1.6 GB as RGB). Pillow's own guard stops far lower."""

MAX_SIDE = 2**18
"""Largest width or height that is opened; scaling a longer one takes memory without bounds."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PROFILE, _TEXTS = b"iCCP", (b"tEXt", b"zTXt", b"iTXt")
_WITH_ORIENTATION = (b"XML:com.adobe.xmp\x00", b"Raw profile type exif\x00")  # the texts that may say which side is up

_guard = threading.Lock()


class TooManyPixels(ValueError):
    """An image that is larger than what is opened."""


def _new_guard() -> None:
    """Replace the lock in a forked child, where the thread that may have held it does not exist."""
    global _guard  # noqa: PLW0603
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_guard)


def header(
    source: str | os.PathLike[str] | bytes, bands: Sequence[int] | None = None, most_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Open an image without decoding its pixels; the caller closes it. Raises what Pillow and the system raise.

    What Pillow does not read, or not with all its bands, is decoded here, see `acclimate.data.tiffs.read_bands`.

    Args:
        source: path of a file, or the bytes of one.
        bands: those that are wanted, from 1; none for the first ones.
        most_pixels: largest width x height that is opened.

    Raises:
        TooManyPixels: it is larger, by what its file says of itself; nothing of it was decoded.
    """
    form = _form(source)
    if form is not None and (form.beyond_pillow or (bands is not None and form.bands > 3)):
        return _bands(source, form, bands, most_pixels)
    if form is not None and form.is_large:
        raise ValueError(
            f"{form.width} x {form.height} pixels, more than the {LARGE:,} of such a TIFF (cut it into tiles)"
        )
    try:
        image = _open(_usable(source))
    except UnidentifiedImageError:
        if form is not None and form.of_bands:
            return _bands(source, form, bands, most_pixels)
        found = _through_extras(source, most_pixels)
        if found is None:
            raise
        image = found
    try:
        _check_size(*image.size, most_pixels)
    except ValueError:
        image.close()
        raise
    return image


def _through_extras(source: str | os.PathLike[str] | bytes, most_pixels: int) -> Image.Image | None:
    """Open an image of a kind that a package reads which is installed; none for others."""
    kind = kind_of_content(source[:HEAD] if isinstance(source, bytes) else _head(source))
    if kind is None or not kind.extra or not is_there(kind.extra):
        return None
    if kind is DICOM:
        return read_dicom(source, lambda width, height: _check_size(width, height, most_pixels))
    require("pillow_heif", "heif").register_heif_opener()
    return _open(io.BytesIO(source) if isinstance(source, bytes) else Path(source), ("HEIF",))


def _head(source: str | os.PathLike[str]) -> bytes:
    with open_regular(source) as stream:
        return stream.read(HEAD)


def _bands(
    source: str | os.PathLike[str] | bytes, form: Form, bands: Sequence[int] | None, most_pixels: int
) -> Image.Image:
    _check_size(form.width, form.height, most_pixels)
    check_bands(bands, form.bands)
    return read_bands(source, form, bands)


def check_bands(bands: Sequence[int] | None, count: int) -> None:
    """Check that an image with `count` bands has those that are wanted."""
    if bands is not None and max(bands) > count:
        wanted = ",".join(map(str, bands))
        raise ValueError(f"it has {counted(count, 'band')}, too few for `bands={wanted}`")


def _form(source: str | os.PathLike[str] | bytes) -> Form | None:
    if isinstance(source, bytes):
        return form_of(io.BytesIO(source))
    with open_regular(source) as stream:
        return form_of(stream)


def _check_size(width: int, height: int, most_pixels: int) -> None:
    if width * height > most_pixels or max(width, height) > MAX_SIDE:
        bound = f"{most_pixels:,} that are opened" if width * height > most_pixels else f"{MAX_SIDE:,} a side"
        raise TooManyPixels(f"{width} x {height} pixels, more than the {bound} (cut it into tiles)")


def _usable(source: str | os.PathLike[str] | bytes) -> Path | io.BytesIO:
    """Return what Pillow opens: a regular file, or bytes; never a pipe or a device, which may not give or not end."""
    if isinstance(source, bytes):
        return _lean(io.BytesIO(source)) or io.BytesIO(source)
    with open_regular(source) as stream:
        return _lean(stream) or Path(source)


def _open(source: Path | io.BytesIO, only: tuple[str, ...] = ()) -> Image.Image:
    # The guard of Pillow is one global number, read while a file is opened. It is changed for just that moment, by one
    # thread at a time.
    with _guard:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source, formats=only or formats())
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _lean(stream: IO[bytes]) -> io.BytesIO | None:
    """Return a PNG without its colour profile and its texts, which are not used and may be larger than Pillow takes.

    Nothing for other files, and where there is nothing to leave out.
    """
    beginning = stream.read(len(_PNG))
    if not beginning:
        raise ValueError("the file is empty (0 bytes)")
    if beginning != _PNG:
        return None
    start, left_out = len(_PNG), []
    while len(head := stream.read(8)) == 8:
        end = start + 12 + int.from_bytes(head[:4], "big")  # its length, its name, its content and a checksum
        if head[4:] == _PROFILE or (head[4:] in _TEXTS and not stream.read(32).startswith(_WITH_ORIENTATION)):
            left_out += [start, end]
        start = end
        stream.seek(start)
    if not left_out:
        return None
    stream.seek(0)
    content = stream.read()
    edges = [0, *left_out, len(content)]
    return io.BytesIO(b"".join(content[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True)))
