"""Features of the frozen image tower, from the content-addressed cache where they are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acclimate.data.augment import Augmentation
from acclimate.data.cache import FeatureCache
from acclimate.training.feeds import CANVAS_FACTOR, PixelFeed
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
) -> Tensor:
    """Return features (N, E) of the evaluation views of a data set, on the CPU, not normalised.

    Args:
        backbone: its frozen image tower.
        data: images.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
    """
    pixels = PixelFeed(data, backbone)
    view = backbone.transform.fingerprint
    return _features(backbone, data, lambda index: pixels.batch(index).pixels, view, cache_dir, progress)


def augmented_features(
    backbone: DualEncoder,
    data: ImageData,
    augmentation: Augmentation,
    views: int,
    seed: int,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
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
    """
    pixels = PixelFeed(data, backbone, augmentation, seed)
    stack = []
    for view in range(views):
        name = f"{backbone.transform.fingerprint}-{augmentation.fingerprint}-{CANVAS_FACTOR}-{seed}-{view}"

        def load(index: Tensor, view: int = view) -> Tensor | None:
            return pixels.batch(index, epoch=view).pixels

        stack.append(_features(backbone, data, load, name, cache_dir, progress))
    return torch.stack(stack)


def _features(
    backbone: DualEncoder,
    data: ImageData,
    load: Callable[[Tensor], Tensor | None],
    view: str,
    cache_dir: Path | None,
    progress: Progress | None,
) -> Tensor:
    progress = progress or Silent()

    def compute(positions: Sequence[int]) -> np.ndarray:
        pixels = load(torch.as_tensor(positions))
        assert pixels is not None
        with torch.no_grad():
            features = backbone.encode_image(pixels.to(backbone.device)).float().cpu().numpy()
        progress.advance(len(positions))
        return features

    progress.start("image features", len(data))
    everything = range(len(data))
    if cache_dir is None:
        rows = [compute(everything[start : start + BATCH_SIZE]) for start in range(0, len(data), BATCH_SIZE)]
        features = np.concatenate(rows) if rows else np.zeros((0, backbone.embed_dim), np.float32)
    else:
        cache = FeatureCache(cache_dir, backbone.fingerprint, view, backbone.embed_dim)
        keys = [data.digest(position) for position in everything]
        features = cache.get_or_compute(keys, compute, batch_size=BATCH_SIZE)
    progress.finish()
    return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
