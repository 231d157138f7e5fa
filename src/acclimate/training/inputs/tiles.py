"""Features at two scales: those of the whole image, and those of its tiles, each at the encoder's own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from acclimate.data.tiles import cut
from acclimate.training.batch import Batch
from acclimate.training.encoding import encode, tiled_features
from acclimate.training.feeds import FeatureFeed, RepeatedFeed, label_tensors
from acclimate.training.inputs.contract import DOMAIN, GRIDS, IMAGE, POOLED, tiled
from acclimate.training.inputs.kinds import Given, InputKind, register_input

if TYPE_CHECKING:
    from PIL import Image

    from acclimate.backbones import Encoder
    from acclimate.data import ImageData
    from acclimate.training.feeds import Feed


class TiledInput(InputKind):
    """Features (B, 1 + grid^2, F) of an image and of its tiles, of the evaluation view.

    Attributes:
        kind: of the features, one of the encoder's `widths`.
        grid: tiles in a row, and in a column.
    """

    kind: ClassVar[str]
    grid: ClassVar[int]
    looks: ClassVar[bool] = True
    divides: ClassVar[bool] = True

    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of them, through the cache."""
        images, rows = data.once()
        how = (self.grid, given.cache_dir, given.progress, self.kind)
        features = tiled_features(self._encoder(given), images, *how)
        feed = FeatureFeed(features, *label_tensors(images), kind=self.name)
        return feed if rows is None else RepeatedFeed(feed, torch.from_numpy(rows))

    def view(self, image: Image.Image, given: Given) -> Tensor:
        """Return the pixels (1 + grid^2, 3, H, W) of an image and of its tiles, for `normalise`."""
        transform = self._encoder(given).transform
        return torch.stack([transform(part) for part in cut(image, self.grid)])

    def batch(self, sources: Sequence[Tensor], given: Given) -> Batch:
        """Return them for views of images; as many crops at once as there are images."""
        encoder = self._encoder(given)
        found: list[Tensor] = [
            getattr(encode(encoder, encoder.transform.normalise(some.to(encoder.device)), {self.kind}), self.kind)
            for some in torch.cat([*sources]).split(len(sources))
        ]
        return Batch(**{self.name: torch.cat(found).unflatten(0, (len(sources), -1))})

    def _encoder(self, given: Given) -> Encoder:
        if self.kind != DOMAIN:
            return given.backbone
        if given.domain_encoder is None:
            raise ValueError(f"{self.name} are wanted, and no domain encoder is given")
        return given.domain_encoder


for _kind in (IMAGE, POOLED, DOMAIN):
    for _grid in GRIDS:
        _of = {"name": tiled(_kind, _grid), "kind": _kind, "grid": _grid, "__doc__": TiledInput.__doc__}
        register_input(type("TiledInput", (TiledInput,), _of))
