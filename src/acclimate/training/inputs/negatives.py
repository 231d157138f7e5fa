"""Images of another class, drawn anew for every image in every epoch: what contrastive tuning compares with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acclimate.training.batch import Batch
from acclimate.training.encoding import image_features
from acclimate.training.feeds import set_tensor
from acclimate.training.inputs.contract import DOMAIN, IMAGE_TOKENS, NEGATIVES
from acclimate.training.inputs.kinds import Given, InputKind, register_input
from acclimate.training.seeding import generator

if TYPE_CHECKING:
    from acclimate.backbones import Encoder
    from acclimate.data import ImageData
    from acclimate.training.feeds import Feed


@register_input
class NegativeInput(InputKind):
    """`negative_tokens` (B, T D) of an image of another class and `negative_mask` (B,), false where there is none.

    With a domain encoder also `negative_features` (B, F), what it gives of that image.
    """

    name = NEGATIVES

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of negatives, drawn uniformly from the training images of other classes.

        Of several data sets that are learned from together, from those of the image's own.
        """
        fields: dict[str, tuple[Encoder, str]] = {"negative_tokens": (given.backbone, IMAGE_TOKENS)}
        if given.domain_encoder is not None:
            fields["negative_features"] = (given.domain_encoder, DOMAIN)
        found = {
            name: image_features(encoder, data, given.cache_dir, given.progress, kind)
            for name, (encoder, kind) in fields.items()
        }
        return NegativeFeed(found, torch.from_numpy(data.labels), given.seed, set_tensor(data))


class NegativeFeed:
    """For each image another one, whose response is different; see Bai et al. 2024 (arXiv 2410.06456), section 4.

    Args:
        fields: (N, F) what is served of each image, by the name of its field.
        labels: (N,) class indices; another class is another response to the same instruction.
        seed: the negative of an image in epoch e depends on (seed, e, its row) alone.
        sets: (N,) data sets with an instruction each, or none where there is one instruction.
    """

    def __init__(self, fields: dict[str, Tensor], labels: Tensor, seed: int, sets: Tensor | None = None) -> None:
        self.fields, self.labels, self.seed = fields, labels, seed
        self.sets = torch.zeros_like(labels) if sets is None else sets
        known, asked = labels.numpy(), self.sets.numpy()
        pairs = {(int(label), int(of)) for label, of in zip(known, asked, strict=True)}
        self._others = {(label, of): np.flatnonzero((known != label) & (asked == of)) for label, of in pairs}

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, index: Tensor, epoch: int | None = None) -> Tensor:
        """Return the row of a negative for each image at `index` (B,), -1 where no class is another."""
        found = []
        for row in index.tolist():
            others = self._others[int(self.labels[row]), int(self.sets[row])]
            drawn = generator("negative", self.seed, epoch, row)
            found.append(int(drawn.choice(others)) if len(others) else -1)
        return torch.tensor(found, dtype=torch.long)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the negatives of the images at `index` (B,); where there is none, the image itself."""
        rows = self.rows(index, epoch)
        place = torch.where(rows < 0, index, rows)
        return Batch(negative_mask=rows >= 0, **{name: values[place] for name, values in self.fields.items()})
