"""TIFF files of many bands or of numbers that Pillow does not read: through `tifffile`, which the extra `tiff` brings.

What a file holds is told from its tags without that package, so that what is refused is named, and what is read depends
on the file alone.
"""

from __future__ import annotations

import io
import logging
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image, TiffImagePlugin

from acclimate.counting import counted
from acclimate.data.levels import colour_levels, grey_levels, is_stretched, valid_of
from acclimate.errors import AcclimateError
from acclimate.extras import require

MOST_READ = 2**24
"""Pixels (4096 x 4096) beyond which a file is read by an overview in it, or every n-th pixel of every n-th row."""

LARGE = 178_956_970
"""Pixels beyond which Pillow refuses a TIFF as it decodes it; one of bands is then read as those beyond Pillow are."""

LARGEST_STRIP = 2**30
"""Bytes of a strip or tile, decoded, beyond which a file is refused; one is held in memory as a whole."""

RULE = "wide 1"
"""Names the rules for many bits and bands; those that follow them get another name, since caches know pixels by it."""

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_LEAST_OVERVIEW = 2**20  # pixels that an overview must have to stand for the image


SEEN = "acclimate"
"""Where the `info` of an image that `read_bands` has read holds what was seen of its file."""


@dataclass(frozen=True)
class Seen:
    """What was seen of a file beside its colours.

    Attributes:
        size: width and height in pixels, of the file.
        bands: how many it has.
        stretched: whether its values were stretched.
        no_data: share of its pixels that have no data, or no finite value.
    """

    size: tuple[int, int]
    bands: int = 3
    stretched: bool = False
    no_data: float = 0.0


@dataclass(frozen=True)
class Form:
    """What the first page of a TIFF holds, as its tags say; see the TIFF 6.0 specification and GDAL's for `no_data`.

    Attributes:
        width: pixels.
        height: pixels.
        bands: samples of a pixel.
        bits: of a sample, the most of any.
        numbers: how they are written: 1 unsigned, 2 signed, 3 floating point, other values for complex ones.
        photometric: 0 white is zero, 1 black is zero, 2 RGB, ...
        planar: whether each band is stored on its own.
        opacity: whether one of the bands is said to be opacity.
        no_data: the value that means no data, or none.
        orientation: as in EXIF.
        compression: as TIFF numbers them.
    """

    width: int
    height: int
    bands: int = 1
    bits: int = 1
    numbers: int = _UNSIGNED
    photometric: int = _BLACK_IS_ZERO
    planar: bool = False
    opacity: bool = False
    no_data: float | None = None
    orientation: int = 1
    compression: int = 1

    @property
    def of_bands(self) -> bool:
        """Whether its numbers are brightness, rather than places in a palette, inks or the like."""
        return self.photometric <= _RGB

    @property
    def is_large(self) -> bool:
        """Whether it has more pixels than Pillow decodes."""
        return self.width * self.height > LARGE

    @property
    def beyond_pillow(self) -> bool:
        """Whether Pillow does not read this form, or not rightly."""
        if self.is_large and self.of_bands:
            return True
        if self.compression not in TiffImagePlugin.COMPRESSION_INFO and self.of_bands:
            return True
        if self.bands == 1:
            return self.numbers > _FLOAT or self.bits == 64 or (self.numbers == _FLOAT and self.bits != 32)
        if self.bits > 8:
            return self.bits > 16 or self.numbers != _UNSIGNED or self.planar or not self._is_plain_colour
        if self.photometric == _RGB:
            return self.bands > 6
        return self.photometric <= _BLACK_IS_ZERO and not (self.bands == 2 and self.opacity)

    @property
    def read_anew(self) -> bool:
        """Whether releases before the rule for many bits and bands gave other pixels, or none."""
        if self.bands > 1:
            return self.bits > 8 or self.beyond_pillow
        wide = self.bits > 8 or self.numbers == _SIGNED
        odd = self.photometric == _WHITE_IS_ZERO or self.no_data is not None or self.bits == 8
        return wide and (odd or self.beyond_pillow or (self.bits == 32 and self.numbers == _UNSIGNED))

    @property
    def _is_plain_colour(self) -> bool:
        return (self.photometric == _RGB and self.bands in (3, 4)) or (self.photometric == _CMYK and self.bands == 4)

    def __str__(self) -> str:
        """Return the form in words."""
        kind = {_UNSIGNED: "whole numbers", _SIGNED: "signed numbers", _FLOAT: "floating-point numbers"}
        return f"a TIFF of {counted(self.bands, 'band')} of {self.bits}-bit {kind.get(self.numbers, 'complex numbers')}"


def reading(content: bytes) -> str:
    """Return by which rule a file is read, where earlier releases have read other pixels; else nothing.

    Args:
        content: its bytes.
    """
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return RULE if content[24:25] == b"\x10" and content[25:26] in (b"\x02", b"\x06") else ""
    form = form_of(io.BytesIO(content)) if content[:4] in _MAGIC else None
    return RULE if form is not None and form.read_anew else ""


def form_of(stream: IO[bytes]) -> Form | None:
    """Read the form of a TIFF from a file at its beginning; none for other files, and where the tags are damaged."""
    head = stream.read(8)
    if head[:4] not in _MAGIC:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags = TiffImagePlugin.ImageFileDirectory_v2(head + (stream.read(8) if b"+" in head[:4] else b""))
            stream.seek(tags.next)
            tags.load(stream)
            return form_of_tags(tags)
    except Exception:  # whoever decodes the file says what is wrong with it
        return None


def form_of_tags(tags: Mapping[int, Any]) -> Form:
    """Return the form that the tags of a page describe."""

    def all_of(tag: int, default: int) -> tuple[int, ...]:
        found = tags.get(tag, default)
        return found if isinstance(found, tuple) else (found,)

    return Form(
        width=tags[256],
        height=tags[257],
        bands=tags.get(277, 1),
        bits=max(all_of(258, 1)),
        numbers=all_of(339, _UNSIGNED)[0],
        photometric=tags.get(262, _BLACK_IS_ZERO),
        planar=tags.get(284, 1) == 2,
        opacity=any(kind in (1, 2) for kind in all_of(338, 0)),
        no_data=_number(tags.get(42113)),
        orientation=tags.get(274, 1),
        compression=tags.get(259, 1),
    )


def _number(text: Any) -> float | None:
    try:
        return None if text is None else float(str(text).strip("\x00 "))
    except ValueError:
        return None


def read_bands(source: str | os.PathLike[str] | bytes, form: Form, bands: Sequence[int] | None = None) -> Image.Image:
    """Read one or three bands of a TIFF as 8-bit RGB; its `info` has `Seen`.

    Args:
        source: path of a file, or the bytes of one.
        form: of the file.
        bands: which, from 1; by default the first three, of two the first, the second and the first, or the only one.

    Raises:
        ValueError: the package is not installed, or the file cannot be read in bounded memory.
    """
    try:
        tifffile = require("tifffile", "tiff")
    except AcclimateError as error:
        size = f" and {form.width} x {form.height} pixels" if form.is_large else ""
        raise ValueError(f"it is {form}{size}, which `pip install 'acclimate[tiff]'` reads") from error
    chosen = tuple(bands or {1: (1,), 2: (1, 2, 1)}.get(form.bands, (1, 2, 3)))
    values = _read(tifffile, source, form, [band - 1 for band in chosen])
    valid = valid_of(values, form.no_data)
    grey = len(chosen) == 1
    levels = grey_levels(values[..., 0], form.no_data) if grey else colour_levels(values, form.no_data)
    if form.photometric == _WHITE_IS_ZERO:
        levels = np.where(valid[..., 0] if grey else valid, 255 - levels, 0).astype(np.uint8)
    image = Image.fromarray(levels).convert("RGB")
    image.format = "TIFF"
    if form.orientation != 1:
        image.getexif()[0x0112] = form.orientation
    image.info[SEEN] = Seen(
        size=(form.width, form.height),
        bands=form.bands,
        stretched=is_stretched(values, valid),
        no_data=float(1 - valid.any(-1).mean()),
    )
    return image


def _read(tifffile: Any, source: str | os.PathLike[str] | bytes, form: Form, bands: list[int]) -> np.ndarray:
    """Return the values (H, W, C) of some bands, fewer rows and columns of a large file."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is raised as well
    with tifffile.TiffFile(io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source)) as file:
        page = _page(file)
        step = max(1, math.ceil(math.sqrt(page.imagewidth * page.imagelength / MOST_READ)))
        if page.is_memmappable and not isinstance(source, bytes):  # only what is looked at is read from the disk
            size = (page.imagelength, page.imagewidth)
            shape = (form.bands, *size) if form.planar else (*size, form.bands)
            kind = page.dtype.newbyteorder(file.byteorder)
            mapped = np.memmap(os.fspath(source), kind, "r", page.dataoffsets[0], shape)
            mapped = mapped.transpose(1, 2, 0) if form.planar else mapped
            return _plain(mapped[::step, ::step, bands])
        if math.prod(page.chunks) * page.dtype.itemsize > LARGEST_STRIP:
            raise ValueError("its strips or tiles are larger than 1 GB each (save it in tiles of 512 x 512, or cut it)")
        return _plain(_decoded(page, step, form, bands))


def _decoded(page: Any, step: int, form: Form, bands: list[int]) -> np.ndarray:
    """Decode the strips or tiles of a page one after another, and keep every `step`-th row and column of some bands."""
    height, width = page.imagelength, page.imagewidth
    found = np.zeros((-(-height // step), -(-width // step), len(bands)), page.dtype)
    if form.no_data is not None and page.dtype.type(0).astype(np.float64) != form.no_data:  # what is not stored
        with np.errstate(all="ignore"):
            found[...] = np.float64(form.no_data).astype(page.dtype)
    for segment, (sample, _, top, left, _), _ in page.segments(maxworkers=1):
        if segment is None:
            continue
        kept = segment[0, -top % step : height - top : step, -left % step : width - left : step]
        first_row, first_column = -(-top // step), -(-left // step)
        rows, columns = slice(first_row, first_row + kept.shape[0]), slice(first_column, first_column + kept.shape[1])
        for place, band in enumerate(bands):
            if not form.planar or band == sample:
                found[rows, columns, place] = kept[..., 0 if form.planar else band]
    return found


def _page(file: Any) -> Any:
    """Return the first page of a file, or of a large one the overview that is read in its place."""
    first = file.pages[0]
    levels = [first, *(page for page in (*file.pages[1:], *(first.pages or ())) if page.is_reduced)]
    alike = [page for page in levels if (page.samplesperpixel, page.dtype) == (first.samplesperpixel, first.dtype)]
    if first.imagewidth * first.imagelength <= MOST_READ:
        return first
    sizes = [(page.imagewidth * page.imagelength, -place, page) for place, page in enumerate(alike)]
    fitting = [size for size in sizes if _LEAST_OVERVIEW <= size[0] <= MOST_READ]
    return (max(fitting) if fitting else min(size for size in sizes if size[0] > MOST_READ))[-1]


def _plain(values: np.ndarray) -> np.ndarray:
    """Return values in the byte order of this machine, complex ones by their size."""
    return np.abs(values) if values.dtype.kind == "c" else np.array(values, values.dtype.newbyteorder("="))
