"""The batch that a method sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.errors import MissingInputError


class Batch:
    """Inputs and targets of some images, by name: each a tensor whose first dimension is the images.

    A field is read as an attribute, `batch.image_features`. The fields that the package knows:

    - `pixels` (B, 3, H, W) float32, normalised for the backbone;
    - `image_features` (B, E) of a frozen image tower, not L2-normalised;
    - `pooled_features` (B, vision_width), its pooled token before the projection;
    - `domain_pixels` (B, 3, H', W') float32, normalised for the domain encoder;
    - `domain_features` (B, F) of a frozen domain encoder, as it pools them;
    - `image_features_2x2` (B, 1 + 4, E), `pooled_features_3x3` (B, 1 + 9, vision_width) and so on: features of the
      whole image, then those of its tiles, row by row;
    - `reference_prompts` (B, n, E), text features of the reference prompts of each image, not L2-normalised, with rows
      of zeros at the end of images that have fewer than n, and `reference_mask` (B, n) bool, which of them are prompts;
    - `labels` (B,) int64 index into the class names, or where images may have several labels (B, K) bool;
    - `domains` (B,) int64 index into the domain names;
    - `sets` (B,) int64 index into the data sets that are learned from together, where there are several;
    - `index` (B,) int64 row of each image in its data, and `shown` (B,) int64 which image it is, where several rows may
      show the same one.

    Input modules may add others (see `acclimate.training.inputs`).

    Args:
        reader: who reads the batch and what of it, for messages.
        fields: the tensors; none leaves a field out.

    Raises:
        ValueError: the fields differ in their first dimension.
    """

    reader: str

    def __init__(self, reader: str = "", /, **fields: Tensor | None) -> None:
        found = {name: value for name, value in fields.items() if value is not None}
        lengths = [value.shape[0] for value in found.values()]  # no plain numbers where a graph is traced
        if any(length != lengths[0] for length in lengths[1:]):
            raise ValueError(f"the fields of a batch differ in length: {dict(zip(found, lengths, strict=True))}")
        vars(self).update(found, reader=reader)

    @property
    def _fields(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if name != "reader"}

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a batch does not change."""
        raise AttributeError(f"a batch does not change; make another one with '{name}'")

    def __getattr__(self, name: str) -> Tensor:
        """Say what is missing; fields that are there are plain attributes.

        Raises:
            MissingInputError: the batch has no such field.
        """
        if name.startswith("__"):
            raise AttributeError(name)
        reader = f"{self.reader}, but asks for" if vars(self).get("reader") else "a method asks for"
        raise MissingInputError(
            f"{reader} '{name}', and the batch holds {', '.join(self._fields) or 'nothing'}; name it in the inputs of "
            "the method"
        )

    def __contains__(self, name: str) -> bool:
        """Return whether there is a field of this name."""
        return name != "reader" and name in vars(self)

    def __len__(self) -> int:
        """Return the number of images, 0 without fields."""
        return int(self.size)

    @property
    def size(self) -> int:
        """The number of images, 0 without fields; where a graph of any number is traced, the symbol of it."""
        return next((value.shape[0] for value in self._fields.values()), 0)

    def __or__(self, other: Batch) -> Batch:
        """Return what both know of the same images; where both know the same field, this one's."""
        return Batch(self.reader or other.reader, **(other._fields | self._fields))

    def __repr__(self) -> str:
        """Return the fields with their shapes."""
        return f"Batch({', '.join(f'{name} {tuple(value.shape)}' for name, value in self._fields.items())})"

    def without(self, *names: str) -> Batch:
        """Return the batch without some of its fields."""
        return Batch(self.reader, **{name: value for name, value in self._fields.items() if name not in names})

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Return the images of several batches with the same fields, one after another; at least one batch."""
        first = batches[0]
        return cls(first.reader, **{name: torch.cat([vars(one)[name] for one in batches]) for name in first._fields})

    def in_full(self) -> Batch:
        """Return the batch with every number that has a fraction in float32."""
        fields = {name: value.float() if value.is_floating_point() else value for name, value in self._fields.items()}
        return Batch(self.reader, **fields)

    def take(self, rows: Tensor) -> Batch:
        """Return the images at `rows`."""
        return Batch(self.reader, **{name: value[rows] for name, value in self._fields.items()})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with every tensor on `device`."""
        moved = {name: value.to(device, non_blocking=non_blocking) for name, value in self._fields.items()}
        return Batch(self.reader, **moved)
