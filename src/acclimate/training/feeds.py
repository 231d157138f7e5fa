"""Feeds: labelled images served by index, as pixels or as features of frozen encoders."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from acclimate.data.augment import Augmentation
from acclimate.training.batch import Batch
from acclimate.training.seeding import generator

if TYPE_CHECKING:
    from acclimate.backbones import Encoder
    from acclimate.data import ImageData

AT_ONCE = 1024  # images whose features are read at once
CANVAS_FACTOR = 1.5  # canvas side in multiples of the input side: crops lose little detail and stay small in memory
DECODERS = min(8, os.cpu_count() or 1)
CANVAS_BUDGET = 2**30  # bytes of canvases kept in memory; beyond it images are decoded anew in every epoch


class Feed(Protocol):
    """Labelled images served by index."""

    labels: Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the images at `index` (B,); `epoch` selects their random views, none means the evaluation view."""
        ...


def epoch_order(count: int, *seed: object) -> Tensor:
    """Return a permutation of `count` images that depends on `seed` alone."""
    return torch.from_numpy(generator("order", *seed).permutation(count))


def chunks(feed: Feed, batch_size: int = AT_ONCE) -> Iterator[Batch]:
    """Serve a whole feed in order, evaluation views, in batches of at most `batch_size`."""
    for index in torch.arange(len(feed)).split(batch_size):
        yield feed.batch(index)


class LabelFeed:
    """Labels, and domains and data sets where there are some, without the images themselves.

    Args:
        labels: (N,) class indices.
        domains: (N,) domain indices, or none.
        sets: (N,) indices of the data sets that are learned from together, or none.
        shown: (N,) which image each row shows, where several may show the same one, or none.
    """

    def __init__(
        self,
        labels: Tensor,
        domains: Tensor | None = None,
        sets: Tensor | None = None,
        shown: Tensor | None = None,
    ) -> None:
        self.labels, self.domains, self.sets, self.shown = labels, domains, sets, shown

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return labels, domains, data sets and images at `index` (B,)."""
        domains, sets, shown = (None if of is None else of[index] for of in (self.domains, self.sets, self.shown))
        return Batch(labels=self.labels[index], domains=domains, sets=sets, shown=shown, index=index)


class FeatureFeed:
    """Features of a frozen encoder, computed once.

    Args:
        features: (N, E) features of the evaluation view.
        labels: (N,) class indices.
        domains: (N,) domain indices, or none.
        views: (V, N, E) features of augmented views, or none; epoch e then serves view e mod V of each image.
        kind: the field of `Batch` that holds them: "image_features", "pooled_features" or "domain_features".
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        domains: Tensor | None = None,
        views: Tensor | None = None,
        kind: str = "image_features",
    ) -> None:
        self.features, self.labels, self.domains, self.views, self.kind = features, labels, domains, views, kind

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the features at `index` (B,)."""
        source = self.features if self.views is None or epoch is None else self.views[epoch % len(self.views)]
        domains = None if self.domains is None else self.domains[index]
        return Batch(labels=self.labels[index], domains=domains, index=index, **{self.kind: source[index]})


class RepeatedFeed:
    """A feed of images, each of which stands in several rows.

    Args:
        feed: of the images.
        rows: (N,) which of them each row shows.
    """

    def __init__(self, feed: Feed, rows: Tensor) -> None:
        self.feed, self.rows = feed, rows
        self.labels = feed.labels[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return what the feed knows of the images at `index` (B,)."""
        return self.feed.batch(self.rows[index], epoch)


class HeldFeed:
    """The evaluation views of a feed, read once and held in memory.

    Args:
        feed: of the images.
        without: fields of its batches that are not held, such as pixels.
        batch_size: images that are read at once.
    """

    def __init__(self, feed: Feed, without: Collection[str] = (), batch_size: int = 256) -> None:
        self.held = Batch.joined([batch.without(*without) for batch in chunks(feed, batch_size)])
        self.labels = feed.labels

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return what is held of the images at `index` (B,), whatever the epoch."""
        return self.held.take(index)


class FreshFeed:
    """Frozen features of views that change in every epoch; those of an epoch are computed together, when it begins.

    Args:
        features: maps an epoch, or none for the evaluation view, to features (N, F) of that view of every image.
        labels: (N,) class indices.
        domains: (N,) domain indices, or none.
        kind: as in `FeatureFeed`.
    """

    def __init__(
        self, features: Callable[[int | None], Tensor], labels: Tensor, domains: Tensor | None, kind: str
    ) -> None:
        self.features, self.labels, self.domains, self.kind = features, labels, domains, kind
        self._held: tuple[int | None, FeatureFeed] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the features at `index` (B,)."""
        if self._held is None or self._held[0] != epoch:
            self._held = epoch, FeatureFeed(self.features(epoch), self.labels, self.domains, kind=self.kind)
        return self._held[1].batch(index)


class PixelFeed:
    """Normalised pixels, augmented freshly in every epoch where an augmentation is given.

    Two feeds of the same images, augmentation and seed show the same views (crop and flip), each through the transform
    of its own encoder.

    Args:
        data: images.
        encoder: what gives the evaluation transform.
        augmentation: random views for training, or none.
        seed: the view of an image in epoch e depends on (seed, e, image bytes) alone, not on its batch or place.
    """

    def __init__(
        self, data: ImageData, encoder: Encoder, augmentation: Augmentation | None = None, seed: int = 0
    ) -> None:
        self.data, self.transform = data, encoder.transform
        self.augmentation, self.seed = augmentation, seed
        self.labels, self.domains = label_tensors(data)
        self._canvases: dict[int, tuple[Tensor, float]] = {}
        self._held = 0  # bytes of canvases in memory

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return the pixels at `index` (B,)."""
        positions = index.tolist()
        if self.augmentation is None or epoch is None:
            pixels = self.transform.normalise(evaluation_pixels(self.data, positions, self.transform))
        else:
            pixels = self.transform.normalise(self._views(positions, epoch))
        domains = None if self.domains is None else self.domains[index]
        return Batch(pixels=pixels, labels=self.labels[index], domains=domains, index=index)

    def fingerprint(self, epoch: int | None = None) -> str:
        """Return a name for what the pixels of an image depend on, beside its bytes: transform, and random view."""
        if self.augmentation is None or epoch is None:
            return self.transform.fingerprint
        return f"{self.transform.fingerprint}-{self.augmentation.fingerprint}-{CANVAS_FACTOR}-{self.seed}-{epoch}"

    def _views(self, positions: Sequence[int], epoch: int) -> Tensor:
        """Draw one random view of each image: (B, 3, H, W) in 0..255."""
        assert self.augmentation is not None
        canvases = self._load_canvases(positions)
        views: list[Tensor | None] = [None] * len(positions)
        for side in {canvas.shape[-1] for canvas, _ in canvases}:  # images of one canvas size make one batch
            rows = [row for row, (canvas, _) in enumerate(canvases) if canvas.shape[-1] == side]
            drawn = self.augmentation(
                torch.stack([canvases[row][0] for row in rows]),
                [canvases[row][1] for row in rows],
                self.transform.output_size,
                [(self.seed, epoch, self.data.digest(positions[row])) for row in rows],
                transform=self.transform,
            )
            for row, view in zip(rows, drawn, strict=True):
                views[row] = view
        return torch.stack([view for view in views if view is not None])

    def _load_canvases(self, positions: Sequence[int]) -> list[tuple[Tensor, float]]:
        missing = [position for position in positions if position not in self._canvases]
        loaded = dict(zip(missing, decode_all(self._canvas, missing), strict=True))
        found = [self._canvases.get(position) or loaded[position] for position in positions]
        for position, (canvas, aspect) in loaded.items():
            if self._held + canvas.numel() <= CANVAS_BUDGET:
                self._held += canvas.numel()
                self._canvases[position] = (canvas, aspect)
        return found

    def _canvas(self, position: int) -> tuple[Tensor, float]:
        return self.transform.canvas(self.data.image(position), CANVAS_FACTOR)


class JoinedFeed:
    """Several feeds of the same images, whose batches become one: pixels to learn from beside features to compare with.

    Args:
        feeds: at least one.
        reader: who reads the batches, for messages.
    """

    def __init__(self, feeds: Sequence[Feed], reader: str = "") -> None:
        self.feeds, self.reader = tuple(feeds), reader
        self.labels = self.feeds[0].labels

    def __len__(self) -> int:
        return len(self.feeds[0])

    def batch(self, index: Tensor, epoch: int | None = None) -> Batch:
        """Return everything that the feeds know of the images at `index` (B,)."""
        return reduce(or_, (feed.batch(index, epoch) for feed in self.feeds), Batch(self.reader))


def label_tensors(data: ImageData) -> tuple[Tensor, Tensor | None]:
    """Return class indices (N,), or labels (N, K), and domain indices (N,) of a data set; no domains, none."""
    labels = torch.from_numpy(data.targets)
    if not data.domain_names:
        return labels, None
    numbers = {name: number for number, name in enumerate(data.domain_names)}
    return labels, torch.tensor([numbers.get(domain, -1) for domain in data.domains])


def set_tensor(data: ImageData) -> Tensor | None:
    """Return which of several data sets that were joined each image is of (N,); none where there is one."""
    return torch.from_numpy(data.set_numbers) if data.sets else None


def evaluation_pixels(data: ImageData, positions: Sequence[int], transform: Callable) -> Tensor:
    """Decode images and apply an evaluation transform: uint8 (B, 3, H, W)."""
    return torch.stack(decode_all(lambda position: transform(data.image(position)), positions))


def decode_all(decode: Callable[[int], Any], positions: Sequence[int]) -> list[Any]:
    """Apply `decode` to every position on a few threads (image decoders release the interpreter), in order."""
    with ThreadPoolExecutor(max_workers=DECODERS) as pool:
        return list(pool.map(decode, positions))
