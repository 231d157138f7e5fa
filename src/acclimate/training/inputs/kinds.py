"""Kinds of input beside pixels and the features of image encoders: one module each, found by their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import numpy as np

from acclimate.errors import ConfigError
from acclimate.modules import import_all
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from PIL import Image

    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.backbones.backbone import Backbone
    from acclimate.data import ImageData
    from acclimate.training.batch import Batch
    from acclimate.training.feeds import Feed


class References(Protocol):
    """Sentences about images: `ReferencePrompts` of their classes, or captions of their own."""

    def sets(self, data: Any) -> tuple[Sequence[Sequence[str]], np.ndarray]:
        """Return sets of sentences, and which of them describes each image (N,).

        Raises:
            DataError: a class has none.
        """
        ...


@dataclass(frozen=True)
class Given:
    """What inputs are made of, beside the images themselves.

    Attributes:
        backbone: frozen.
        domain_encoder: frozen encoder of the domain, for methods that read one.
        references: sentences about the images, or none.
        config: settings of the method, for kinds of input that some of them describe.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch of features.
        seed: of inputs that are drawn.
        scorer: dual encoder that judges written captions, or none.
    """

    backbone: Backbone
    domain_encoder: DomainEncoder | None = None
    references: References | None = None
    config: Any = None
    cache_dir: Path | None = None
    progress: Progress = field(default_factory=Silent)
    seed: int = 1
    scorer: DualEncoder | None = None


class InputKind(ABC):
    """A kind of input that no image encoder gives.

    Attributes:
        name: what methods call it in their `Inputs`.
        looks: whether `batch` takes what `view` makes of the images, decoded.
        divides: whether `batch` may have some of the images at a time, in several threads; of kinds that look.
    """

    name: ClassVar[str]
    looks: ClassVar[bool] = False
    divides: ClassVar[bool] = False

    @abstractmethod
    def feed(self, data: ImageData, given: Given) -> Feed:
        """Return a feed of it, in the order of the images."""

    def view(self, image: Image.Image, given: Given) -> Any:
        """Return what `batch` needs of an image (RGB), made while others are decoded: by default the image."""
        return image

    def batch(self, sources: Sequence[Any], given: Given) -> Batch:
        """Return it for images that are predicted on: files or images in memory, or views of them where it `looks`.

        Raises:
            ConfigError: it is for training alone.
        """
        raise ConfigError(f"'{self.name}' is learned from, and is not there in prediction")


_KINDS: dict[str, InputKind] = {}

K = TypeVar("K", bound=type[InputKind])


def register_input(kind: K) -> K:
    """Register a kind of input under its `name`."""
    if kind.name in _KINDS and type(_KINDS[kind.name]) is not kind:
        raise ValueError(f"two kinds of input are named '{kind.name}'")
    _KINDS[kind.name] = kind()
    return kind


def find_kind(name: str) -> InputKind:
    """Return the kind of input of a name.

    Raises:
        ConfigError: neither an encoder nor a module gives it.
    """
    import_all("acclimate.training.inputs")
    if name not in _KINDS:
        raise ConfigError(
            f"no input is named '{name}' (encoders give pixels, image_features, pooled_features, domain_pixels, "
            f"domain_features; modules give {', '.join(sorted(_KINDS))})"
        )
    return _KINDS[name]
