"""`ImageTokens`: the vectors of one image whose number depends on its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.errors import BackboneError


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """What the language model gets of one image in its own shape.

    Made by `GenerativeVLM.encode_images`.

    Attributes:
        tokens: (T, D'), T depends on the image.
        grid: frames, rows and columns of its patches where positions are counted in two dimensions.
        tiles: rows and columns of the tiles it was cut into; (0, 0): it was not cut.
        vision: (vision_width,), mean over its vision tokens before the connector.
    """

    tokens: Tensor
    grid: tuple[int, int, int] | None = None
    tiles: tuple[int, int] = (0, 0)
    vision: Tensor | None = None


def pack(images: Sequence[ImageTokens]) -> tuple[Tensor, Tensor]:
    """Return images as two tensors of one length, for feeds and batches; `unpack` makes images of them again.

    Returns:
        Tokens (B, the most T, D'), filled with zeros; and shapes (B, 6): T, the tiles, and the grid, zeros for none.
    """
    tokens = torch.nn.utils.rnn.pad_sequence([image.tokens for image in images], batch_first=True)
    shapes = [[len(image.tokens), *image.tiles, *(image.grid or (0, 0, 0))] for image in images]
    return tokens, torch.tensor(shapes, dtype=torch.long)


def unpack(tokens: Tensor, shapes: Tensor) -> list[ImageTokens]:
    """Return the images that were packed, without their vision tokens."""
    found = []
    for row, (count, rows, columns, *grid) in zip(tokens, shapes.tolist(), strict=True):
        own = (grid[0], grid[1], grid[2]) if any(grid) else None
        found.append(ImageTokens(row[:count], own, (rows, columns)))
    return found


def image_rows(images: Tensor | Sequence[ImageTokens], counts: Sequence[int], width: int, token_width: int) -> Tensor:
    """Vectors of all images of a batch, one after the other.

    Args:
        images: (B, T * D'), (B, T, D') or (B, T, D), or one entry for each image.
        counts: placeholders of each conversation.
        width: D', of what a placeholder takes.
        token_width: D, of the language model; narrower vectors are filled with zeros up to D'.

    Returns:
        (sum of counts, D').

    Raises:
        BackboneError: another number of images, or of vectors of one, than the conversations have placeholders for.
    """
    if isinstance(images, Tensor):
        flat = images.ndim == 2 and images.shape[1] % width == 0
        vectors = images.unflatten(1, (-1, width)) if flat else images
        if vectors.ndim != 3 or vectors.shape[2] not in (width, token_width):
            raise BackboneError(
                f"image tokens have shape {tuple(images.shape)}; give (B, T, {width}), or these flattened"
            )
        given = [vectors.shape[1]] * len(vectors)
        rows = vectors.flatten(0, 1)
    else:
        given = [len(image.tokens) for image in images]
        rows = torch.cat([image.tokens for image in images]) if given else torch.zeros(0, width)
    if given != list(counts):
        place = next((i for i, (a, b) in enumerate(zip(given, counts, strict=False)) if a != b), None)
        what = (
            f"{len(given)} images for {len(counts)} conversations"
            if place is None
            else f"{given[place]} image tokens for the {counts[place]} placeholders of conversation {place}"
        )
        raise BackboneError(f"{what}; make conversations with `image_tokens` of the images that they are about")
    if rows.shape[1] < width:
        rows = torch.cat([rows, rows.new_zeros(len(rows), width - rows.shape[1])], dim=1)
    return rows
