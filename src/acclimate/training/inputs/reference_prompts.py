"""Reference prompts as an input: text features of the sentences about each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.backbones.backbone import as_dual
from acclimate.errors import DataError
from acclimate.training.batch import Batch
from acclimate.training.encoding import text_features
from acclimate.training.inputs.contract import REFERENCES
from acclimate.training.inputs.kinds import Given, InputKind, register_input

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.training.feeds import Feed


@register_input
class ReferenceInput(InputKind):
    """`reference_prompts` (B, n, E) and `reference_mask` (B, n): sentences about the class or the image."""

    name = REFERENCES

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of the sentences of each image.

        Raises:
            DataError: there are none, or a class has none.
        """
        if given.references is None:
            raise DataError(f"{data.name}: no reference prompts are given, and none are composed")
        sets, owners = given.references.sets(data)
        prompts, mask = _encoded(sets, given)
        return ReferenceFeed(prompts, mask, torch.from_numpy(owners))


class ReferenceFeed:
    """Text features of the reference prompts of each image, beside feeds that show the images.

    Args:
        prompts: (S, n, E) text features of S sets of prompts, padded with zeros.
        mask: (S, n), true for prompts, false for padding.
        owners: (N,) which set describes each image.
    """

    def __init__(self, prompts: Tensor, mask: Tensor, owners: Tensor) -> None:
        self.prompts, self.mask, self.owners = prompts, mask, owners
        self.labels = owners

    def __len__(self) -> int:
        return len(self.owners)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the prompts of the images at `index` (B,), the same in every epoch."""
        owners = self.owners[index]
        return Batch(reference_prompts=self.prompts[owners], reference_mask=self.mask[owners], index=index)


def _encoded(sets: Sequence[Sequence[str]], given: Given) -> tuple[Tensor, Tensor]:
    """Return text features (S, n, E) of S sets of sentences, padded with zeros, and which are sentences (S, n)."""
    sentences = [sentence for some in sets for sentence in some]
    backbone = as_dual(given.backbone, "the text of reference prompts")
    features = text_features(backbone, sentences, given.cache_dir, given.progress)
    lengths = torch.tensor([len(some) for some in sets])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    prompts = torch.zeros(*mask.shape, features.shape[1])
    prompts[mask] = features
    return prompts, mask
