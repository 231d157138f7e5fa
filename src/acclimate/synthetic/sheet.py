"""Contact sheets: every class under every acquisition domain on one page."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from acclimate.synthetic.catalogue import get_domain
from acclimate.synthetic.rendering import render

MARGIN, HEADER, GUTTER = 118, 22, 8


def contact_sheet(domain: str, size: int = 96, columns: int = 3, seed: int = 0) -> Image.Image:
    """A labelled sheet: one row per class, `columns` images for each acquisition domain.

    Args:
        domain: one of `list_domains()`.
        size: edge of an image on the sheet, in pixels.
        columns: images of each class and acquisition.
        seed: number of the collection, as in `render`.

    Raises:
        ConfigError: no such domain.
    """
    described = get_domain(domain)
    font = ImageFont.load_default(size=12)
    group = columns * (size + 2) + GUTTER
    width = MARGIN + group * len(described.acquisitions)
    sheet = Image.new("RGB", (width, HEADER + len(described.classes) * (size + 2)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, acquisition in enumerate(described.acquisitions):
        draw.text((MARGIN + number * group + 2, 4), acquisition, fill="black", font=font)
    for row, class_name in enumerate(described.classes):
        top = HEADER + row * (size + 2)
        draw.text((4, top + size // 2 - 14), class_name.replace("_", "\n"), fill="black", font=font, spacing=2)
        for number, acquisition in enumerate(described.acquisitions):
            for index in range(columns):
                tile = render(domain, class_name, acquisition, index, seed=seed)  # the images a data set has
                sheet.paste(
                    tile.resize((size, size), Image.Resampling.LANCZOS),
                    (MARGIN + number * group + index * (size + 2), top),
                )
    return sheet
