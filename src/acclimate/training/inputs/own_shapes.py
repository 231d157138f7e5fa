"""Images in their own shapes, as tiles or grids, whose numbers of tokens differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from acclimate.backbones.generative.images import ImageTokens, pack
from acclimate.training.batch import Batch
from acclimate.training.encoding import image_features
from acclimate.training.inputs.contract import DOMAIN, OWN_NEGATIVES, OWN_TOKENS
from acclimate.training.inputs.kinds import Given, InputKind, register_input
from acclimate.training.inputs.negatives import NegativeFeed

if TYPE_CHECKING:
    from acclimate.backbones import GenerativeVLM
    from acclimate.data import ImageData
    from acclimate.training.feeds import Feed


@register_input
class OwnTokensInput(InputKind):
    """`own_tokens` (B, the most T, D') and `own_shapes` (B, 6), see `pack`; computed anew in each run."""

    name = OWN_TOKENS
    looks: ClassVar[bool] = True

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of the tokens of all images, which stay in memory."""
        images, rows = data.once()
        return OwnFeed(_encoded(images, given), None if rows is None else torch.from_numpy(rows))

    def batch(self, sources: Sequence[Any], given: Given) -> Batch:
        """Return the tokens of images (Pillow, RGB)."""
        tokens, shapes = pack(_vlm(given).encode_images(sources))
        return Batch(own_tokens=tokens, own_shapes=shapes)


@register_input
class OwnNegativesInput(InputKind):
    """`negative_tokens` and `negative_shapes` of an image with another answer, and what `NegativeInput` has beside."""

    name = OWN_NEGATIVES

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of negatives in their own shapes."""
        images, rows = data.once()
        tokens, shapes = _encoded(images, given)
        fields = {"negative_tokens": tokens, "negative_shapes": shapes}
        if (encoder := given.domain_encoder) is not None:
            fields["negative_features"] = image_features(encoder, images, given.cache_dir, given.progress, DOMAIN)
        asked, answered = map(torch.from_numpy, data.told())
        return NegativeFeed(fields, answered, given.seed, asked, None if rows is None else torch.from_numpy(rows))


class OwnFeed:
    """Tokens of images in their own shapes.

    Args:
        packed: tokens and shapes of M images, see `pack`.
        rows: (N,) which image each row shows; none: each its own.
    """

    def __init__(self, packed: tuple[Tensor, Tensor], rows: Tensor | None) -> None:
        (self.tokens, self.shapes), self.rows = packed, rows
        self.labels = torch.zeros(len(packed[0]) if rows is None else len(rows), dtype=torch.long)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the tokens of the images at `index` (B,), the same in every epoch."""
        place = index if self.rows is None else self.rows[index]
        return Batch(own_tokens=self.tokens[place], own_shapes=self.shapes[place])


def _encoded(data: ImageData, given: Given) -> tuple[Tensor, Tensor]:
    """Return tokens and shapes of all images, on the CPU."""
    found: list[ImageTokens] = []
    given.progress.start("image tokens", len(data))
    for row in range(len(data)):
        (image,) = _vlm(given).encode_images([data.image(row)])
        found.append(ImageTokens(image.tokens.cpu(), image.grid, image.tiles))
        given.progress.advance(1)
    given.progress.finish()
    if not found:
        return torch.zeros(0, 0, _vlm(given).token_width), torch.zeros(0, 6, dtype=torch.long)
    return pack(found)


def _vlm(given: Given) -> GenerativeVLM:
    return given.backbone  # type: ignore[return-value]  # the only kind that such methods adapt
