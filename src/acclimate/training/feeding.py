"""Which feed serves a method: what it reads decides whether an encoder runs once, in every epoch, or in every step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.training.batch import Batch
from acclimate.training.encoding import augmented_features, encode, encoders_of, image_features, view_features
from acclimate.training.feeds import (
    FeatureFeed,
    Feed,
    FreshFeed,
    JoinedFeed,
    LabelFeed,
    PixelFeed,
    RepeatedFeed,
    label_tensors,
    set_tensor,
)
from acclimate.training.inputs import DOMAIN, DOMAINS, PIXELS, VIEWS, Given, find_kind
from acclimate.training.recipe import Views

if TYPE_CHECKING:
    import numpy as np

    from acclimate.backbones import Encoder
    from acclimate.data import ImageData
    from acclimate.data.augment import Augmentation
    from acclimate.data.transforms import ImageTransform


def evaluation_feed(names: Collection[str], data: ImageData, given: Given, reader: str = "") -> Feed:
    """Return a feed of evaluation views: pixels, features from the cache, and whatever else is read.

    Args:
        names: what is read, see `Inputs`.
        data: labelled images, or images with captions.
        given: what inputs are made of.
        reader: who reads it, for messages.
    """
    images, rows = data.once()
    labels, domains = label_tensors(images)
    feeds: list[Feed] = []
    encoders = encoders_of(names, given.backbone, given.domain_encoder)
    for encoder, part in encoders:
        feeds += [_encoded(PixelFeed(images, encoder), encoder, part & VIEWS)] if part & VIEWS else []
        for kind in sorted(part - VIEWS):
            features = image_features(encoder, images, given.cache_dir, given.progress, kind)
            feeds.append(FeatureFeed(features, labels, domains, kind=kind))
    others = [find_kind(name).feed(data, given) for name in other_names(names, encoders)]
    return _joined(feeds, data, rows, others, reader)


def training_feed(
    names: Collection[str],
    data: ImageData,
    given: Given,
    recipe: Views,
    augmentation: Augmentation,
    seed: int,
    reader: str = "",
) -> Feed:
    """Return a feed of random views; whatever a batch holds of an image shows one and the same view.

    A method that reads pixels gets a fresh view in every epoch, and features of that very view; one that reads features
    alone gets those of `recipe.views` cached views, or of fresh ones where that is 0. Of fresh views, the image tower
    of the backbone encodes a batch in its step, next to what is learned there, while the domain encoder encodes an
    epoch when it begins, through the cache: another run with the same views finds them there.

    Args:
        names, data, given, reader: as in `evaluation_feed`.
        recipe: number of cached views.
        augmentation: how a view is drawn.
        seed: of the views.
    """
    fresh = bool(VIEWS.intersection(names)) or recipe.views == 0
    images, rows = data.once()
    labels, domains = label_tensors(images)
    how: dict[str, Any] = {"cache_dir": given.cache_dir, "progress": given.progress}
    feeds: list[Feed] = []
    sources: dict[ImageTransform, PixelFeed] = {}  # one for both encoders where their transforms agree, as with "self"
    encoders = encoders_of(names, given.backbone, given.domain_encoder)
    for encoder, part in encoders:
        pixels = sources.setdefault(encoder.transform, PixelFeed(images, encoder, augmentation, seed))
        if fresh and part == {DOMAIN}:
            features = partial(view_features, encoder, pixels, kind=DOMAIN, **how)
            feeds.append(FreshFeed(features, labels, domains, DOMAIN))
        elif fresh:
            feeds.append(_encoded(pixels, encoder, part))
        else:
            for kind in sorted(part):
                plain = image_features(encoder, images, kind=kind, **how)
                views = augmented_features(encoder, images, augmentation, recipe.views, seed, kind=kind, **how)
                feeds.append(FeatureFeed(plain, labels, domains, views, kind))
    others = [find_kind(name).feed(data, given) for name in other_names(names, encoders)]
    return _joined(feeds, data, rows, others, reader)


def _joined(
    images: Sequence[Feed], data: ImageData, rows: np.ndarray | None, others: Sequence[Feed], reader: str
) -> Feed:
    """Return what is known of the images, in as many rows as each stands in, with what each row has of its own."""
    shown = None if rows is None else torch.from_numpy(rows)
    served = images if shown is None else [RepeatedFeed(feed, shown) for feed in images]
    return JoinedFeed([LabelFeed(*label_tensors(data), set_tensor(data), shown), *served, *others], reader)


def other_names(names: Collection[str], encoders: Iterable[tuple[Encoder, frozenset[str]]]) -> list[str]:
    """Return which of the names none of the encoders gives; domains stand beside the labels in every feed."""
    return sorted(frozenset(names).difference({DOMAINS}, *(part for _, part in encoders)))


def _encoded(pixels: PixelFeed, encoder: Encoder, names: frozenset[str]) -> Feed:
    """Return a feed of what is read of an encoder; nothing stands between the pixels and who reads them alone."""
    return pixels if names == {PIXELS} else EncodedFeed(pixels, encoder, names)


class EncodedFeed:
    """Features of pixels that change in every epoch: the frozen encoder runs in each step, without gradient.

    Args:
        pixels: gives the views.
        encoder: what encodes them.
        names: what a batch holds, see `encode`.
    """

    def __init__(self, pixels: PixelFeed, encoder: Encoder, names: Collection[str] = ("image_features",)) -> None:
        self.pixels, self.encoder, self.names = pixels, encoder, frozenset(names)
        self.labels = pixels.labels

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return what is read of the views at `index` (B,)."""
        batch = self.pixels.batch(index, epoch)
        return encode(self.encoder, batch.pixels, self.names) | batch.without(PIXELS)
