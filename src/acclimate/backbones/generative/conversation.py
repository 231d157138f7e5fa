"""`Conversation`: one question about one image as token ids, with its answer marked, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from acclimate.counting import counted
from acclimate.errors import BackboneError

EXEMPLAR = -1  # the id that stands for a vector of the caller's own; in no tokenizer


@dataclass(frozen=True, eq=False)
class Conversation:
    """An image, an instruction and, for training, the response, as one row of ids.

    Made by `GenerativeVLM.conversation`.

    Attributes:
        ids: (L,) token ids on the CPU; the image's placeholders and the exemplars (`EXEMPLAR`) have one id for each
            vector that takes their place.
        response: (L,) true at the tokens of the response and the token that ends it, which are the last ones.
        grid: the image's grid where it has its own, see `ImageTokens`; None where all images have the same.
    """

    ids: Tensor
    response: Tensor
    grid: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        """Number of tokens."""
        return len(self.ids)

    @property
    def prompt(self) -> Tensor:
        """The ids before the response."""
        return self.ids[~self.response]

    @property
    def exemplars(self) -> int:
        """Number of vectors that it expects beside the image."""
        return int((self.ids == EXEMPLAR).sum())


class Batch(NamedTuple):
    """Conversations of any lengths, padded on the left: the last token of each stands in the last column.

    Attributes:
        ids: (B, L).
        mask: (B, L) true where there is a token.
        response: (B, L) true at the tokens of the responses.
    """

    ids: Tensor
    mask: Tensor
    response: Tensor


def batch_of(conversations: Sequence[Conversation], device: torch.device) -> Batch:
    """Pad conversations on the left."""
    longest = max(map(len, conversations), default=0)
    ids = torch.zeros(len(conversations), longest, dtype=torch.long)
    mask, response = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
    for row, conversation in enumerate(conversations):
        first = longest - len(conversation)
        ids[row, first:], response[row, first:] = conversation.ids, conversation.response
        mask[row, first:] = True
    return Batch(ids.to(device), mask.to(device), response.to(device))


def expand(
    ids: Sequence[int], image_id: int, closing: int | None, tokens: int, exemplars: int, images: int = 1
) -> list[int]:
    """Write one placeholder for each vector of each image, and the exemplars behind each whole image.

    Args:
        ids: with one image id for each part (tile) of each image.
        image_id: the placeholder.
        closing: the id that ends an image, which the exemplars follow; None: the last placeholder ends it.
        tokens: number T of vectors of an image, the same for each of its parts.
        exemplars: number of exemplars of an image.
        images: number of images, all of as many parts.
    """
    places = [index for index, found in enumerate(ids) if found == image_id]
    parts = len(places) // images
    each, rest = divmod(tokens, max(1, parts))
    if rest or not each or parts * images != len(places):
        where = f" for each of {images} images" if images > 1 else ""
        raise BackboneError(
            f"{tokens} image tokens cannot be laid into {counted(len(places), 'part')} of an image{where}"
        )
    lasts = places[parts - 1 :: parts]
    if closing is not None:
        lasts = [next(i for i in range(last, len(ids)) if ids[i] == closing) for last in lasts]
    out: list[int] = []
    for index, found in enumerate(ids):
        out += [found] * (each if found == image_id else 1)
        if index in lasts:
            out += [EXEMPLAR] * exemplars
    return out
