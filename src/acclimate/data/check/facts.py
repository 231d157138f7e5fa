"""What a check knows of every image: read and decoded once, by several threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import imagehash
import numpy as np
from PIL import Image

from acclimate.data.dataset import ImageData
from acclimate.data.images import UnreadableImage, decoding, develop
from acclimate.data.opening import header
from acclimate.data.tiffs import SEEN

TURNS: dict[str, Image.Transpose | None] = {
    "same": None,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "upside down": Image.Transpose.FLIP_TOP_BOTTOM,
    "turned by 180°": Image.Transpose.ROTATE_180,
}
"""Ways in which an image may be seen again; each gets a hash of its own."""

SMALL = 16
_DECODED_SIDE = 128  # enough for every measure below, so that a large JPEG need not be decoded in full
_HASHED_SIDE = 64


@dataclass(frozen=True)
class Fact:
    """Measures of one image.

    Attributes:
        digest: sha256 of the stored bytes.
        hashes: 64-bit perceptual hashes, one for each of `TURNS`.
        small: grey values, uint8 (16, 16).
        width: pixels, of the upright image.
        height: pixels, of the upright image.
        mode: "grey", "colour", "palette", "transparent" or "wide grey", of the file.
        format: of the file, as Pillow names it.
        jpeg_step: mean quantisation step of luminance of a JPEG, large for a low quality; 0 for other formats.
        size: bytes of the file.
        brightness: mean grey value, 0..255.
        contrast: standard deviation of the grey values, 0..127.5.
        oddities: what is odd about the file, see `acclimate.data.images.develop`.
        stretched: whether its values were stretched to those of an 8-bit image.
        no_data: share of its pixels without data.
    """

    digest: str
    hashes: tuple[int, ...]
    small: np.ndarray = field(repr=False)
    width: int
    height: int
    mode: str
    format: str
    jpeg_step: float
    size: int
    brightness: float
    contrast: float
    oddities: tuple[str, ...] = ()
    stretched: bool = False
    no_data: float = 0.0


def read_facts(
    data: ImageData, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Fact | None], dict[int, str]]:
    """Measure every image; return the facts in row order, None for corrupt ones, and the reasons of those by row.

    Args:
        data: the images.
        progress: called with (done, total) now and then.
    """
    reasons: dict[int, str] = {}

    def one(row: int) -> Fact | None:
        try:
            return measure(data.image_bytes(row), data.keys[row], data.bands)
        except UnreadableImage as error:
            reasons[row] = error.reason
            return None

    facts: list[Fact | None] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for fact in pool.map(one, range(len(data))):
            facts.append(fact)
            if progress is not None and (len(facts) % 100 == 0 or len(facts) == len(data)):
                progress(len(facts), len(data))
    return facts, reasons


def measure(content: bytes, name: str, bands: Sequence[int] | None = None) -> Fact:
    """Measure one image from its bytes; `bands` as in `acclimate.data.open_image`.

    Raises:
        UnreadableImage: the bytes cannot be decoded.
    """
    with decoding(name, content), header(content, bands) as image:
        mode, kind = _mode(image), image.format or ""
        width, height = image.info[SEEN].size if SEEN in image.info else image.size
        step = _jpeg_step(image)
        if kind == "JPEG":
            image.draft(None, (_DECODED_SIDE, _DECODED_SIDE))
        developed = develop(image, lambda: header(content), bands)
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    grey, seen = developed.rgb.convert("L"), developed.seen
    if turned:
        width, height = height, width
    values = np.asarray(grey.resize((_HASHED_SIDE, _HASHED_SIDE), Image.Resampling.BOX), dtype=np.float32)
    hashed = grey.resize((_HASHED_SIDE, _HASHED_SIDE), Image.Resampling.BILINEAR)
    hashes = tuple(_bits(hashed if turn is None else hashed.transpose(turn)) for turn in TURNS.values())
    small = np.asarray(hashed.resize((SMALL, SMALL), Image.Resampling.BOX))
    digest = hashlib.sha256(content).hexdigest()
    brightness, contrast = float(values.mean()), float(values.std())
    measures = (small, width, height, mode, kind, step, len(content), brightness, contrast)
    return Fact(digest, hashes, *measures, developed.oddities, seen.stretched, seen.no_data)


def _bits(image: Image.Image) -> int:
    """Return the perceptual hash (signs of the lowest 8 x 8 frequencies of the cosine transform) as an integer."""
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes(), "big")


def _mode(image: Image.Image) -> str:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return "wide grey"
    if image.has_transparency_data:
        return "transparent"
    return {"1": "grey", "L": "grey", "P": "palette"}.get(image.mode, "colour")


def _jpeg_step(image: Image.Image) -> float:
    tables = getattr(image, "quantization", None)
    return float(np.mean(tables[min(tables)])) if isinstance(tables, dict) and tables else 0.0
