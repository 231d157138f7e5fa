"""Features of frozen encoders, from the content-addressed cache where they are known."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acclimate.data.augment import Augmentation
from acclimate.data.cache import FeatureCache
from acclimate.training.feeds import PixelFeed, encode_pixels
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.data import ImageData
    from acclimate.training.feeds import Encoder

BATCH_SIZE = 64
TEXTS = 1024  # sentences in a batch; the text tower divides it further
TEXT = "text"  # what the cache has in place of an image transform


def image_features(
    encoder: Encoder,
    data: ImageData,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    kind: str = "image_features",
) -> Tensor:
    """Return features (N, F) of the evaluation views of a data set, on the CPU, not normalised.

    Args:
        encoder: a backbone or a domain encoder.
        data: images.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: "image_features" (N, E) of a backbone, its "pooled_features" (N, vision_width) before the projection, or
            "domain_features" (N, width) of a domain encoder.
    """
    return view_features(encoder, PixelFeed(data, encoder), None, cache_dir, progress, kind)


def augmented_features(
    encoder: Encoder,
    data: ImageData,
    augmentation: Augmentation,
    views: int,
    seed: int,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    kind: str = "image_features",
) -> Tensor:
    """Return features (V, N, F) of `views` random views of each image.

    Args:
        encoder: a backbone or a domain encoder.
        data: images.
        augmentation: how a view is drawn.
        views: how many.
        seed: of the views.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: as in `image_features`.
    """
    pixels = PixelFeed(data, encoder, augmentation, seed)
    return torch.stack([view_features(encoder, pixels, view, cache_dir, progress, kind) for view in range(views)])


def view_features(
    encoder: Encoder,
    pixels: PixelFeed,
    epoch: int | None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    kind: str = "image_features",
) -> Tensor:
    """Return features (N, F) of the view that every image of a feed shows in one epoch.

    Args:
        encoder: a backbone or a domain encoder.
        pixels: the images, through the transform of this encoder.
        epoch: which view; none is the evaluation view.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: as in `image_features`.
    """
    progress, count, width = progress or Silent(), len(pixels), _width(encoder, kind)

    def compute(positions: Sequence[int]) -> np.ndarray:
        views = pixels.batch(torch.as_tensor(positions), epoch).pixels
        assert views is not None
        features: Tensor = getattr(encode_pixels(encoder, views, {kind}), kind)
        progress.advance(len(positions))
        return features.float().cpu().numpy()

    progress.start("domain features" if kind == "domain_features" else "image features", count)
    if cache_dir is None:
        rows = [compute(range(count)[start : start + BATCH_SIZE]) for start in range(0, count, BATCH_SIZE)]
        features = np.concatenate(rows) if rows else np.zeros((0, width), np.float32)
    else:
        suffix = "-pooled_features" if kind == "pooled_features" else ""
        cache = FeatureCache(cache_dir, encoder.fingerprint, pixels.fingerprint(epoch) + suffix, width)
        keys = [pixels.data.digest(position) for position in range(count)]
        features = cache.get_or_compute(keys, compute, batch_size=BATCH_SIZE)
    progress.finish()
    return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))


@torch.no_grad()
def text_features(
    backbone: DualEncoder, sentences: Sequence[str], cache_dir: Path | None = None, progress: Progress | None = None
) -> Tensor:
    """Return features (N, E) of sentences, on the CPU, not normalised.

    Args:
        backbone: its frozen text tower.
        sentences: N of them; those that stand there twice are encoded once.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
    """
    progress, distinct = progress or Silent(), list(dict.fromkeys(sentences))

    def compute(positions: Sequence[int]) -> np.ndarray:
        features = backbone.encode_text([distinct[position] for position in positions])
        progress.advance(len(positions))
        return features.float().cpu().numpy()

    progress.start("text features", len(distinct))
    if cache_dir is None:
        found = compute(range(len(distinct)))
    else:
        cache = FeatureCache(cache_dir, backbone.fingerprint, TEXT, backbone.embed_dim)
        keys = [hashlib.sha256(sentence.encode()).hexdigest() for sentence in distinct]
        found = cache.get_or_compute(keys, compute, batch_size=TEXTS)
    progress.finish()
    rows = {sentence: row for row, sentence in enumerate(distinct)}
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))[[rows[sentence] for sentence in sentences]]


def _width(encoder: Encoder, kind: str) -> int:
    from acclimate.backbones import DualEncoder

    if not isinstance(encoder, DualEncoder):
        return encoder.width
    return {"image_features": encoder.embed_dim, "pooled_features": encoder.vision_width}[kind]
