"""A contact sheet: some images on one page, each with a few words below it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from acclimate.pretraining.sheet import GAP, TILE

COLUMNS = 5
LINE, SIZE = 18, 13  # pixels: height of a line of words, and of its letters


def draw_contact_sheet(cells: Iterable[tuple[Image.Image, Sequence[str]]]) -> bytes:
    """Return a PNG with images in rows of five, each whole in a square and with its words in lines below it.

    Args:
        cells: images, RGB, and their words; a line that is too wide keeps its end, where the name of a file is told.
    """
    font = ImageFont.load_default(SIZE)
    tiles = [(ImageOps.pad(image, (TILE, TILE), color="white"), words) for image, words in cells]
    height = TILE + GAP + LINE * max((len(words) for _, words in tiles), default=0)
    columns = min(COLUMNS, max(1, len(tiles)))
    size = (GAP + columns * (TILE + GAP), GAP + -(-len(tiles) // columns) * height)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for place, (tile, words) in enumerate(tiles):
        left, top = GAP + place % columns * (TILE + GAP), GAP + place // columns * height
        sheet.paste(tile, (left, top))
        for number, line in enumerate(words):
            pen.text((left, top + TILE + LINE * number), _fitting(line, font), fill="black", font=font)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _fitting(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return a line, without its beginning where the whole is wider than an image."""
    shown = line = " ".join(line.split())
    while font.getlength(shown) > TILE:
        line = line[1:]
        shown = f"...{line}"
    return shown
