"""The batch that a method sees."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Inputs and targets of one step; what a method does not need stays `None`.

    Args:
        pixels: `(B, 3, H, W)` float32, normalised for the backbone.
        image_features: `(B, E)` features of a frozen image tower, not L2-normalised.
        pooled_features: `(B, vision_width)` pooled token of a frozen image tower, before the projection.
        domain_features: `(B, F)` features of a frozen domain encoder, as it pools them.
        reference_prompts: `(B, n, E)` text features of the reference prompts of each image, not L2-normalised; images
            with fewer than n have rows of zeros at the end.
        reference_mask: `(B, n)` bool, which of them are prompts.
        labels: `(B,)` int64 index into the class names.
        domains: `(B,)` int64 index into the domain names.
        index: `(B,)` int64 row of each sample in its `ImageData`.

    Raises:
        ValueError: the fields differ in their first dimension.
    """

    pixels: Tensor | None = None
    image_features: Tensor | None = None
    pooled_features: Tensor | None = None
    domain_features: Tensor | None = None
    reference_prompts: Tensor | None = None
    reference_mask: Tensor | None = None
    labels: Tensor | None = None
    domains: Tensor | None = None
    index: Tensor | None = None

    def __post_init__(self) -> None:
        """Check that all fields speak of the same samples."""
        lengths = {name: len(value) for name, value in self._present().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the fields of a batch differ in length: {lengths}")

    def __len__(self) -> int:
        """Return the number of samples, 0 where every field is `None`."""
        return next((len(value) for value in self._present().values()), 0)

    def __or__(self, other: Batch) -> Batch:
        """Return what both know of the same samples; where both know the same field, this one's."""
        return Batch(**(other._present() | self._present()))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with every tensor on `device`."""
        return Batch(**{name: value.to(device, non_blocking=non_blocking) for name, value in self._present().items()})

    def _present(self) -> dict[str, Tensor]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}
