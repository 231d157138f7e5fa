"""Which feed serves a method: what it needs decides whether an encoder runs once, in every epoch, or in every step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.training.features import augmented_features, image_features, text_features, view_features
from acclimate.training.feeds import (
    EncodedFeed,
    FeatureFeed,
    Feed,
    FreshFeed,
    PixelFeed,
    ReferenceFeed,
    join_feeds,
    label_tensors,
)
from acclimate.training.progress import Progress
from acclimate.training.recipe import Views

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.data import CaptionData, ImageData
    from acclimate.data.augment import Augmentation
    from acclimate.data.transforms import ImageTransform
    from acclimate.prompts import ReferencePrompts
    from acclimate.training.feeds import Encoder

REFERENCES = "reference_prompts"  # what no encoder of images gives
DOMAIN = frozenset({"domain_features"})  # what a domain encoder gives; all else comes from the backbone
FROZEN = frozenset({"image_features", "pooled_features"}) | DOMAIN  # what the cache keeps


def encoders_of(
    needs: Collection[str], backbone: DualEncoder, domain_encoder: DomainEncoder | None
) -> list[tuple[Encoder, frozenset[str]]]:
    """Return the encoders that a batch is made with, each with what is needed of it.

    Raises:
        ValueError: domain features are needed, and there is no domain encoder.
    """
    parts = [(backbone, frozenset(needs) - DOMAIN), (domain_encoder, frozenset(needs) & DOMAIN)]
    if parts[1][1] and domain_encoder is None:
        raise ValueError("domain_features are needed, and no domain encoder is given")
    return [(encoder, part) for encoder, part in parts if part and encoder is not None]


def evaluation_feed(
    needs: Collection[str],
    backbone: DualEncoder,
    data: ImageData,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    domain_encoder: DomainEncoder | None = None,
) -> Feed:
    """Return a feed of evaluation views: pixels, features from the cache, or both.

    Args:
        needs: what a method needs, see `Method.needs`.
        backbone: its frozen image tower and transform.
        data: images.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
        domain_encoder: gives the "domain_features", where they are needed.
    """
    labels, domains = label_tensors(data)
    feeds: list[Feed] = [
        FeatureFeed(image_features(encoder, data, cache_dir, progress, kind), labels, domains, kind=kind)
        for encoder, part in encoders_of(needs, backbone, domain_encoder)
        for kind in sorted(part & FROZEN)
    ]
    return join_feeds(feeds if feeds and "pixels" not in needs else [PixelFeed(data, backbone), *feeds])


def training_feed(
    needs: Collection[str],
    backbone: DualEncoder,
    data: ImageData,
    recipe: Views,
    augmentation: Augmentation,
    seed: int,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    domain_encoder: DomainEncoder | None = None,
) -> Feed:
    """Return a feed of random views; whatever a batch holds of an image shows one and the same view.

    A method that needs pixels gets a fresh view in every epoch, and features of that very view; one that needs features
    alone gets those of `recipe.views` cached views, or of fresh ones where that is 0. Of fresh views, the image tower
    of the backbone encodes a batch in its step, next to what is learned there, while the domain encoder encodes an
    epoch when it begins, through the cache: another run with the same views finds them there.

    Args:
        needs: what a method needs.
        backbone: its frozen image tower and transform.
        data: training images.
        recipe: number of cached views.
        augmentation: how a view is drawn.
        seed: of the views.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
        domain_encoder: gives the "domain_features", where they are needed.
    """
    fresh = "pixels" in needs or recipe.views == 0
    labels, domains = label_tensors(data)
    feeds: list[Feed] = []
    sources: dict[ImageTransform, PixelFeed] = {}  # one for both encoders where their transforms agree, as with "self"
    for encoder, part in encoders_of(needs, backbone, domain_encoder):
        pixels = sources.setdefault(encoder.transform, PixelFeed(data, encoder, augmentation, seed))
        if fresh and part == DOMAIN:
            features = partial(
                view_features, encoder, pixels, cache_dir=cache_dir, progress=progress, kind="domain_features"
            )
            feeds.append(FreshFeed(features, labels, domains, "domain_features"))
        elif fresh:
            feeds.append(EncodedFeed(pixels, encoder, part) if part & FROZEN else pixels)
        else:
            for kind in sorted(part):
                plain = image_features(encoder, data, cache_dir, progress, kind)
                views = augmented_features(encoder, data, augmentation, recipe.views, seed, cache_dir, progress, kind)
                feeds.append(FeatureFeed(plain, labels, domains, views, kind))
    return join_feeds(feeds)


def reference_feed(
    backbone: DualEncoder,
    references: ReferencePrompts,
    data: ImageData,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> ReferenceFeed:
    """Return a feed of the reference prompts of the class of each image.

    Args:
        backbone: its frozen text tower.
        references: sentences of every class.
        data: images.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.

    Raises:
        DataError: a class has no sentences.
    """
    prompts, mask = _encoded(backbone, references.of(data.class_names), cache_dir, progress)
    labels, _ = label_tensors(data)
    return ReferenceFeed(prompts, mask, labels, labels)


def caption_feed(
    backbone: DualEncoder, data: CaptionData, cache_dir: Path | None = None, progress: Progress | None = None
) -> Feed:
    """Return a feed of image features, with the captions of each image as its reference prompts.

    Args:
        backbone: its frozen towers.
        data: images with captions.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
    """
    images = evaluation_feed({"image_features"}, backbone, data.images, cache_dir, progress)
    prompts, mask = _encoded(backbone, data.captions, cache_dir, progress)
    return join_feeds([images, ReferenceFeed(prompts, mask, torch.arange(len(data)), images.labels)])


def _encoded(
    backbone: DualEncoder, sets: Sequence[Sequence[str]], cache_dir: Path | None, progress: Progress | None
) -> tuple[Tensor, Tensor]:
    """Return text features (S, n, E) of S sets of sentences, padded with zeros, and which are sentences (S, n)."""
    features = text_features(backbone, [sentence for some in sets for sentence in some], cache_dir, progress)
    lengths = torch.tensor([len(some) for some in sets])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    prompts = torch.zeros(*mask.shape, features.shape[1])
    prompts[mask] = features
    return prompts, mask
