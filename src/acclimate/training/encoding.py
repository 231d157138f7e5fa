"""Images and texts through frozen encoders: the one place that encodes, through the content-addressed cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from acclimate.data.augment import Augmentation
from acclimate.data.cache import FeatureCache, row_key
from acclimate.data.tiles import cut
from acclimate.training.batch import Batch
from acclimate.training.feeds import PixelFeed, decode_all
from acclimate.training.inputs.contract import DOMAIN, DOMAIN_PIXELS, DOMAIN_TOKENS, PIXELS, VIEWS
from acclimate.training.progress import Progress, Silent
from acclimate.training.steady import at_once, computed_on, steady

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder, Encoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.data import ImageData

TEXTS = 1024  # sentences that are tokenised together
PLAIN = ("image_features", DOMAIN)  # kinds that the name of a cache file does not have, since they were there first
TEXT = "text"  # what the cache has in place of an image transform


def encoders_of(
    names: Collection[str], backbone: Backbone, domain_encoder: DomainEncoder | None
) -> list[tuple[Encoder, frozenset[str]]]:
    """Return the encoders that a batch is made with, each with what is wanted of it.

    "pixels" are the backbone's, "domain_pixels" those of the domain encoder, each through its own transform.

    Raises:
        ValueError: domain features or pixels are wanted, and there is no domain encoder.
    """
    wanted_of_domain = frozenset(names) & {DOMAIN, DOMAIN_PIXELS, DOMAIN_TOKENS}
    if wanted_of_domain and domain_encoder is None:
        raise ValueError(f"{min(wanted_of_domain)} are wanted, and no domain encoder is given")
    encoders: list[Encoder] = [backbone, *([] if domain_encoder is None else [domain_encoder])]
    parts = [{PIXELS, *backbone.widths}, *({DOMAIN_PIXELS, *encoder.widths} for encoder in encoders[1:])]
    wanted = [(encoder, frozenset(names) & part) for encoder, part in zip(encoders, parts, strict=True)]
    return [(encoder, part) for encoder, part in wanted if part]


@torch.no_grad()
def encode(encoder: Encoder, pixels: Tensor, names: Collection[str]) -> Batch:
    """Run a frozen encoder once, where it is wanted at all.

    Args:
        encoder: a backbone, of which the image tower runs, or a domain encoder.
        pixels: (B, 3, H, W), normalised for it.
        names: kinds of its features, and "pixels" or "domain_pixels" for the pixels themselves.
    """
    kinds = frozenset(names) - VIEWS
    features = encoder.encode(pixels.to(encoder.device), kinds) if kinds else {}
    return Batch(**dict.fromkeys(VIEWS.intersection(names), pixels), **features)


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
        kind: one of the encoder's `widths`, which say F.
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

    They are the same bit for bit whatever the cache holds and however many threads compute them, see `steady`.

    Args:
        encoder: a backbone or a domain encoder.
        pixels: the images, through the transform of this encoder.
        epoch: which view; none is the evaluation view.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: as in `image_features`.
    """

    def views(positions: Sequence[int]) -> Tensor:
        return pixels.batch(torch.as_tensor(positions), epoch).pixels

    crops = Crops(len(pixels), views, pixels.fingerprint(epoch), pixels.data.pixels_key)
    return _encoded(encoder, crops, cache_dir, progress, kind)


def tiled_features(
    encoder: Encoder,
    data: ImageData,
    grid: int,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    kind: str = "image_features",
) -> Tensor:
    """Return features (N, 1 + grid^2, F) of each image and of its tiles, row by row; evaluation views, see `cut`.

    An image is decoded once, and it and its tiles run through the encoder together. In the cache each has a row of its
    own, so that the whole image is found where `image_features` has left it, and the other way round.

    Args:
        encoder: a backbone or a domain encoder.
        data: images.
        grid: tiles in a row, and in a column.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
        kind: as in `image_features`.
    """
    per = 1 + grid**2

    def pixels(positions: Sequence[int]) -> Tensor:
        wanted: dict[int, list[int]] = {}
        for position in positions:  # those of an image stand side by side
            wanted.setdefault(position // per, []).append(position % per)

        def decode(row: int) -> list[Tensor]:
            parts = cut(data.image(row), grid)
            return [encoder.transform(parts[place]) for place in wanted[row]]

        decoded = decode_all(decode, [*wanted])
        return encoder.transform.normalise(torch.stack([part for parts in decoded for part in parts]))

    def key(position: int) -> str:
        place = position % per
        return row_key(data.pixels_key(position // per), f"tile {place} of {grid} x {grid}" if place else "")

    crops = Crops(len(data) * per, pixels, encoder.transform.fingerprint, key)
    return _encoded(encoder, crops, cache_dir, progress, kind).unflatten(0, (len(data), per))


@dataclass(frozen=True)
class Crops:
    """What runs through an encoder: images as they are, views of them, or tiles.

    Attributes:
        count: how many.
        pixels: gives those at some positions, (B, 3, H, W), normalised.
        fingerprint: names what was done to all of them.
        key: names one of them in the cache.
    """

    count: int
    pixels: Callable[[Sequence[int]], Tensor]
    fingerprint: str
    key: Callable[[int], str]


def _encoded(encoder: Encoder, crops: Crops, cache_dir: Path | None, progress: Progress | None, kind: str) -> Tensor:
    """Return features (N, F) of crops, through the cache."""
    progress, count, width = progress or Silent(), crops.count, encoder.widths[kind]
    size = at_once(encoder.device)

    def run(views: Tensor) -> Tensor:
        features: Tensor = getattr(encode(encoder, views, {kind}), kind)
        return features

    def compute(positions: Sequence[int]) -> np.ndarray:
        features = steady(run, crops.pixels(positions), encoder.device)
        progress.advance(len(positions))
        return features.numpy()

    progress.start("domain features" if kind == DOMAIN else "image features", count)
    if cache_dir is None:
        rows = [compute(range(count)[start : start + size]) for start in range(0, count, size)]
        features = np.concatenate(rows) if rows else np.zeros((0, width), np.float32)
    else:
        suffix = "" if kind in PLAIN else f"-{kind}"
        how = computed_on(encoder.device, encoder.dtype)
        cache = FeatureCache(cache_dir, encoder.identity, crops.fingerprint + suffix, width, computed=how)
        features = cache.get_or_compute([crops.key(position) for position in range(count)], compute, batch_size=size)
    progress.finish()
    return torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))


def text_features(
    backbone: DualEncoder, sentences: Sequence[str], cache_dir: Path | None = None, progress: Progress | None = None
) -> Tensor:
    """Return features (N, E) of sentences, on the CPU, not normalised; the same bit for bit, see `view_features`.

    Args:
        backbone: its frozen text tower.
        sentences: N of them; those that stand there twice are encoded once.
        cache_dir: folder of the feature cache; none computes everything.
        progress: told of every batch.
    """
    progress, distinct = progress or Silent(), list(dict.fromkeys(sentences))

    def compute(positions: Sequence[int]) -> np.ndarray:
        features = np.zeros((len(positions), backbone.embed_dim), np.float32)
        ids = [backbone.tokenize([distinct[position]]) for position in positions]
        for length in sorted({tokens.shape[1] for tokens in ids}):  # a shape is that of no other text's length
            rows = [row for row, tokens in enumerate(ids) if tokens.shape[1] == length]
            alike = torch.cat([ids[row] for row in rows])
            features[rows] = steady(partial(backbone.encode_text, share=False), alike, backbone.device).numpy()
            progress.advance(len(rows))
        return features

    progress.start("text features", len(distinct))
    if cache_dir is None:
        found = compute(range(len(distinct)))
    else:
        how = computed_on(backbone.device, backbone.dtype)
        cache = FeatureCache(cache_dir, backbone.identity, TEXT, backbone.embed_dim, computed=how)
        keys = [hashlib.sha256(sentence.encode()).hexdigest() for sentence in distinct]
        found = cache.get_or_compute(keys, compute, batch_size=TEXTS)
    progress.finish()
    rows = {sentence: row for row, sentence in enumerate(distinct)}
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))[[rows[sentence] for sentence in sentences]]
