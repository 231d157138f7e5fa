"""`Encoder`: what every frozen image encoder can do, whatever it is part of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

from acclimate.errors import BackboneError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from acclimate.data.transforms import ImageTransform


class Encoder(Protocol):
    """A frozen image encoder that gives one or several kinds of features.

    The kinds are named as the fields of a batch that hold them: a dual encoder gives "image_features" (in the joint
    space of images and texts) and "pooled_features" (before the projection), a domain encoder "domain_features".

    Attributes:
        name: Hub id, catalogue id or folder it came from.
    """

    name: str

    @property
    def transform(self) -> ImageTransform:
        """Its own preprocessing, evaluation view."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        ...

    @property
    def identity(self) -> str:
        """Hash of everything that decides its features, beside the pixels."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        ...

    @property
    def widths(self) -> Mapping[str, int]:
        """The kinds of features that it gives, each with its width."""
        ...

    def encode(self, pixels: Tensor, kinds: Collection[str]) -> dict[str, Tensor]:
        """Features of images; only what is asked for is computed.

        Args:
            pixels: (B, 3, H, W), normalised by `transform`; on any device.
            kinds: any of `widths`.

        Returns:
            (B, width) for each kind, on the device of the encoder, without gradient and not L2-normalised.

        Raises:
            BackboneError: a kind that it does not give, or pixels of another shape.
        """
        ...


def check_kinds(encoder: Encoder, kinds: Collection[str]) -> None:
    """Refuse kinds of features that an encoder does not give.

    Raises:
        BackboneError: naming the first of them, and what it gives.
    """
    for kind in kinds:
        if kind not in encoder.widths:
            raise BackboneError(f"{encoder.name} gives no {kind!r}; ask for {' or '.join(encoder.widths)}")
