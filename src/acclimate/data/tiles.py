"""Tiles: an image cut into a grid, each part of which an encoder sees at its own resolution."""

from __future__ import annotations

from itertools import pairwise

from PIL import Image


def cut(image: Image.Image, grid: int) -> list[Image.Image]:
    """Return an image, and behind it its grid x grid tiles, row by row.

    The tiles are cut from the image as it is, before any transform, so that one of them shows more than the whole does
    wherever the image is larger than what an encoder takes. Edges fall on whole pixels; the tiles cover every pixel,
    none of them twice, but in an image with fewer pixels than tiles along an edge.

    Args:
        image: RGB.
        grid: tiles in a row, and in a column.
    """
    return [image, *(image.crop(box) for box in tile_boxes(image.size, grid)[1:])]


def tile_boxes(size: tuple[int, int], grid: int) -> list[tuple[int, int, int, int]]:
    """Return left, top, right and bottom, in pixels, of an image and of its tiles, in the order of `cut`.

    Args:
        size: width and height of the image.
        grid: tiles in a row, and in a column.
    """
    columns, rows = (_spans(length, grid) for length in size)
    return [(0, 0, *size), *((left, top, right, bottom) for top, bottom in rows for left, right in columns)]


def _spans(length: int, parts: int) -> list[tuple[int, int]]:
    """Return where each part of an edge begins and ends, at least one pixel long."""
    edges = [length * part // parts for part in range(parts + 1)]
    return [(min(first, length - 1), max(last, first + 1)) for first, last in pairwise(edges)]
