"""Images with another answer to the same question, such as another class: what contrastive tuning compares with.

They are drawn anew for every image in every epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from acclimate.training.batch import Batch
from acclimate.training.encoding import image_features
from acclimate.training.inputs.contract import DOMAIN, IMAGE_TOKENS, NEGATIVES, VISION_NEGATIVES, VISION_TOKENS
from acclimate.training.inputs.kinds import Given, InputKind, register_input
from acclimate.training.seeding import generator

if TYPE_CHECKING:
    from acclimate.backbones import Encoder
    from acclimate.data import ImageData
    from acclimate.training.feeds import Feed


@register_input
class NegativeInput(InputKind):
    """`negative_tokens` (B, T D) of an image with another answer to the same question, and `negative_mask` (B,).

    The mask is false where there is no such image.

    With a domain encoder also `negative_features` (B, F), what it gives of that image.
    """

    name = NEGATIVES
    kind: ClassVar[str] = IMAGE_TOKENS

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of negatives, drawn uniformly from the training images with another answer.

        Of several data sets that are learned from together, from those of the image's own.
        """
        fields: dict[str, tuple[Encoder, str]] = {"negative_tokens": (given.backbone, self.kind)}
        if given.domain_encoder is not None:
            fields["negative_features"] = (given.domain_encoder, DOMAIN)
        images, rows = data.once()
        found = {
            name: image_features(encoder, images, given.cache_dir, given.progress, kind)
            for name, (encoder, kind) in fields.items()
        }
        asked, answered = map(torch.from_numpy, data.told())
        return NegativeFeed(found, answered, given.seed, asked, None if rows is None else torch.from_numpy(rows))


@register_input
class VisionNegativeInput(NegativeInput):
    """The same, where `negative_tokens` (B, N V) are what the connector reads of that image."""

    name = VISION_NEGATIVES
    kind: ClassVar[str] = VISION_TOKENS


class NegativeFeed:
    """For each image another one, whose response is different; see Bai et al. 2024 (arXiv 2410.06456), section 4.

    Args:
        fields: (M, F) what is served of each image, by the name of its field.
        labels: (N,) which answer each row has, such as a class.
        seed: the negative of a row in epoch e depends on (seed, e, the row) alone.
        asked: (N,) which question each row has; none: all have the same.
        images: (N,) which image each row shows; none: each its own.
    """

    def __init__(
        self,
        fields: dict[str, Tensor],
        labels: Tensor,
        seed: int,
        asked: Tensor | None = None,
        images: Tensor | None = None,
    ) -> None:
        self.fields, self.labels, self.seed, self.images = fields, labels, seed, images
        known = labels.numpy()
        question = np.zeros_like(known) if asked is None else asked.numpy()
        self._question = question
        self._others: dict[tuple[int, int], np.ndarray] = {}
        for one in np.unique(question):
            rows = np.flatnonzero(question == one)
            self._others |= {(int(one), int(label)): rows[known[rows] != label] for label in np.unique(known[rows])}

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor, epoch: int | None = None) -> Tensor:
        """Return the row of a negative for each image at `index` (B,), -1 where no answer is another."""
        found = []
        for row in index.tolist():
            others = self._others[int(self._question[row]), int(self.labels[row])]
            drawn = generator("negative", self.seed, epoch, row)
            found.append(int(drawn.choice(others)) if len(others) else -1)
        return torch.tensor(found, dtype=torch.long)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the negatives of the images at `index` (B,); where there is none, the image itself."""
        rows = self.rows(index, epoch)
        place = torch.where(rows < 0, index, rows)
        place = place if self.images is None else self.images[place]
        return Batch(negative_mask=rows >= 0, **{name: values[place] for name, values in self.fields.items()})
