"""Features of the frozen image tower, from the content-addressed cache where they are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acclimate.data.augment import Augmentation
from acclimate.data.cache import FeatureCache
from acclimate.training.feeds import CANVAS_FACTOR, PixelFeed, encode_pixels
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.data import ImageData

BATCH_SIZE = 64


def image_features(
    backbone: DualEncoder,
    data: ImageData,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    kind: str = "image_features",
) -> Tensor:
    """Return features (N, E) of the evaluation views of a data set, on the CPU, not normalised.

    Args:
        backbone: its frozen image tower.
        data: images.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: "image_features", or "pooled_features" (N, vision_width) before the projection.
    """
    view = backbone.transform.fingerprint
    return _features(backbone, data, PixelFeed(data, backbone), None, view, kind, cache_dir, progress)


def augmented_features(
    backbone: DualEncoder,
    data: ImageData,
    augmentation: Augmentation,
    views: int,
    seed: int,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    kind: str = "image_features",
) -> Tensor:
    """Return features (V, N, E) of `views` random views of each image.

    Args:
        backbone: its frozen image tower.
        data: images.
        augmentation: how a view is drawn.
        views: how many.
        seed: of the views.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: as in `image_features`.
    """
    pixels = PixelFeed(data, backbone, augmentation, seed)
    base = f"{backbone.transform.fingerprint}-{augmentation.fingerprint}-{CANVAS_FACTOR}-{seed}"
    return torch.stack(
        [_features(backbone, data, pixels, view, f"{base}-{view}", kind, cache_dir, progress) for view in range(views)]
    )


def _features(
    backbone: DualEncoder,
    data: ImageData,
    pixels: PixelFeed,
    epoch: int | None,
    view: str,
    kind: str,
    cache_dir: Path | None,
    progress: Progress | None,
) -> Tensor:
    progress = progress or Silent()
    width = {"image_features": backbone.embed_dim, "pooled_features": backbone.vision_width}[kind]

    def compute(positions: Sequence[int]) -> np.ndarray:
        views = pixels.batch(torch.as_tensor(positions), epoch).pixels
        assert views is not None
        features: Tensor = getattr(encode_pixels(backbone, views, {kind}), kind)
        progress.advance(len(positions))
        return features.float().cpu().numpy()

    progress.start("image features", len(data))
    everything = range(len(data))
    if cache_dir is None:
        rows = [compute(everything[start : start + BATCH_SIZE]) for start in range(0, len(data), BATCH_SIZE)]
        features = np.concatenate(rows) if rows else np.zeros((0, width), np.float32)
    else:
        suffix = "" if kind == "image_features" else f"-{kind}"
        cache = FeatureCache(cache_dir, backbone.fingerprint, view + suffix, width)
        keys = [data.digest(position) for position in everything]
        features = cache.get_or_compute(keys, compute, batch_size=BATCH_SIZE)
    progress.finish()
    return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
