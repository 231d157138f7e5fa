"""Which feed serves a method: what it needs decides whether the image tower runs once, in every step, or inside it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.training.features import augmented_features, image_features
from acclimate.training.feeds import EncodedFeed, FeatureFeed, Feed, JoinedFeed, PixelFeed, label_tensors
from acclimate.training.progress import Progress
from acclimate.training.recipe import Views

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.data import ImageData
    from acclimate.data.augment import Augmentation

FROZEN = ("image_features", "pooled_features")  # what the frozen image tower gives, and the cache keeps


def evaluation_feed(
    needs: Collection[str],
    backbone: DualEncoder,
    data: ImageData,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Feed:
    """Return a feed of evaluation views: pixels, features from the cache, or both.

    Args:
        needs: what a method needs, see `Method.needs`.
        backbone: its frozen image tower and transform.
        data: images.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
    """
    labels, domains = label_tensors(data)
    feeds: list[Feed] = [
        FeatureFeed(image_features(backbone, data, cache_dir, progress, kind), labels, domains, kind=kind)
        for kind in FROZEN
        if kind in needs
    ]
    return _join(needs, feeds, PixelFeed(data, backbone))


def training_feed(
    needs: Collection[str],
    backbone: DualEncoder,
    data: ImageData,
    recipe: Views,
    augmentation: Augmentation,
    seed: int,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Feed:
    """Return a feed of random views.

    A method that needs pixels gets a fresh view in every epoch, and features of that very view; one that needs features
    alone gets those of `recipe.views` cached views, or of fresh ones where that is 0.

    Args:
        needs: what a method needs.
        backbone: its frozen image tower and transform.
        data: training images.
        recipe: number of cached views.
        augmentation: how a view is drawn.
        seed: of the views.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
    """
    pixels = PixelFeed(data, backbone, augmentation, seed)
    if "pixels" in needs or recipe.views == 0:
        return EncodedFeed(pixels, backbone, needs) if set(needs) & set(FROZEN) else pixels
    labels, domains = label_tensors(data)
    feeds: list[Feed] = []
    for kind in FROZEN:
        if kind in needs:
            plain = image_features(backbone, data, cache_dir, progress, kind)
            views = augmented_features(backbone, data, augmentation, recipe.views, seed, cache_dir, progress, kind)
            feeds.append(FeatureFeed(plain, labels, domains, views, kind))
    return _join(needs, feeds, pixels)


def _join(needs: Collection[str], feeds: list[Feed], pixels: PixelFeed) -> Feed:
    if "pixels" in needs or not feeds:
        feeds = [pixels, *feeds]
    return feeds[0] if len(feeds) == 1 else JoinedFeed(feeds)
