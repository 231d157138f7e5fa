"""The sheet of reconstructions: what was shown, what was hidden, what the model drew."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TITLES = ("original", "masked", "reconstruction")
TILE = 192  # pixels; smaller images are enlarged to it
GAP, HEAD = 8, 28
HIDDEN = 200  # grey level of hidden patches


def draw_sheet(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> bytes:
    """Return a PNG with one row per image and three columns, each under its title.

    Args:
        rows: original, masked and reconstructed image, (H, W, 3) each.
    """
    width = len(TITLES) * (TILE + GAP) + GAP
    sheet = Image.new("RGB", (width, HEAD + len(rows) * (TILE + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, title in enumerate(TITLES):
        left = GAP + column * (TILE + GAP)
        pen.text((left + TILE // 2, HEAD // 2), title, fill="black", font=font, anchor="mm")
        for row, images in enumerate(rows):
            tile = Image.fromarray(images[column]).resize((TILE, TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (left, HEAD + row * (TILE + GAP)))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
