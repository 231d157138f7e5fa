"""A classifier as one module, from normalised pixels to probabilities, for exporters to trace.

It knows methods by their contract alone: what prediction reads says what the graph takes, and `logits` what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.methods import AnsweringClassifier, Classifier, Labeller, Method
from acclimate.training.batch import Batch
from acclimate.training.encoding import encode, encoders_of
from acclimate.training.feeding import other_names
from acclimate.training.inputs import DOMAIN, VIEWS, find_kind
from acclimate.training.inputs.tiles import TiledInput

if TYPE_CHECKING:
    from acclimate.backbones import Encoder

NAMES = ("pixels", "domain_pixels")  # of what the backbone and the domain encoder take


@dataclass(frozen=True)
class View:
    """What the graph takes for one encoder: images through its transform, and their tiles where some are read.

    Attributes:
        name: of the input of the graph.
        encoder: what sees it.
        whole: what is read of whole images, see `Inputs`.
        tiled: what is read of tiles, by name.
    """

    name: str
    encoder: Encoder
    whole: frozenset[str]
    tiled: Mapping[str, TiledInput]

    @property
    def grids(self) -> tuple[int, ...]:
        """The grids that images are cut into, each once, the coarsest first."""
        return tuple(sorted({kind.grid for kind in self.tiled.values()}))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image's part of the input: (3, H, W), or (1 + tiles of all grids, 3, H, W)."""
        crops = (1 + sum(grid**2 for grid in self.grids),) if self.grids else ()
        return (*crops, 3, *self.encoder.transform.output_size)

    def batch(self, pixels: Tensor) -> Batch:
        """Return what is read of images (B, *shape), normalised for the encoder."""
        if not self.grids:
            return encode(self.encoder, pixels, self.whole)
        kinds = (self.whole - VIEWS) | {kind.kind for kind in self.tiled.values()}
        encoded = encode(self.encoder, pixels.flatten(0, 1), kinds)
        features: dict[str, Tensor] = {kind: getattr(encoded, kind).unflatten(0, pixels.shape[:2]) for kind in kinds}
        found = {name: pixels[:, 0] if name in VIEWS else features[name][:, 0] for name in self.whole}
        first, firsts = 1, {}
        for grid in self.grids:
            firsts[grid], first = first, first + grid**2
        for name, kind in self.tiled.items():
            every, start = features[kind.kind], firsts[kind.grid]
            found[name] = torch.cat([every[:, :1], every[:, start : start + kind.grid**2]], dim=1)
        return Batch(**found)


class ClassifierGraph(nn.Module):
    """Logits and probabilities of images, by a method with its encoders.

    Args:
        method: in evaluation mode, with all its weights on the CPU.

    Raises:
        ConfigError: it has no classes, or reads something that is not made of pixels alone.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = check_exports(method)
        self.method.eval()
        self.views = views_of(self.method)

    def forward(self, *pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities (B, C) of the classes that are bound, in their order.

        Args:
            pixels: for each of `views`, (B, *shape).
        """
        batch = Batch(self.method.reading)
        for view, own in zip(self.views, pixels, strict=True):
            batch |= view.batch(own)
        logits = self.method.of_bound(self.method.logits(batch)).float()
        return logits, logits.softmax(dim=-1)

    def example(self, images: int, seed: int) -> tuple[Tensor, ...]:
        """Return random numbers from N(0, 1) in place of so many images."""
        draws = torch.Generator().manual_seed(seed)
        return tuple(torch.randn(images, *view.shape, generator=draws) for view in self.views)


def check_exports(method: Method) -> Classifier:
    """Return a method that tells classes apart by pixels alone, and refuse any other.

    Raises:
        ConfigError: it does not.
    """
    if not isinstance(method, Classifier) or not method.class_names:
        raise ConfigError(f"{method.name} tells no classes apart in this run; a graph is made of runs that do")
    if isinstance(method, AnsweringClassifier):
        raise ConfigError(f"{method.name} answers through a language model, which no graph is made of; adapt with auto")
    if isinstance(method, Labeller) and method.apart:
        raise ConfigError(f"this {method.name} has learned several labels an image; a graph is made of one class each")
    return method


def views_of(method: Classifier) -> tuple[View, ...]:
    """Return what the graph of a method takes, that of the backbone first.

    Raises:
        ConfigError: prediction reads something that is not made of pixels alone.
    """
    names = method.inputs.prediction
    encoders = encoders_of(names, method.backbone, method.domain_encoder)
    tiled: dict[str, TiledInput] = {}
    for name in other_names(names, encoders):
        if not isinstance(kind := find_kind(name), TiledInput):
            raise ConfigError(
                f"{method.name} reads {name.replace('_', ' ')}, which no graph is made of; adapt with auto"
            )
        tiled[name] = kind
    of_domain = {name: kind for name, kind in tiled.items() if kind.kind == DOMAIN}
    parts = {id(encoder): part for encoder, part in encoders}
    both: list[tuple[str, Any, dict[str, TiledInput]]] = [
        (NAMES[0], method.backbone, {name: kind for name, kind in tiled.items() if name not in of_domain}),
        (NAMES[1], method.domain_encoder, of_domain),
    ]
    views = (View(name, encoder, parts.get(id(encoder), frozenset()), own) for name, encoder, own in both)
    return tuple(view for view in views if view.whole or view.tiled)
