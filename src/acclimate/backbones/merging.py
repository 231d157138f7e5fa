"""Changes of a tower merged into the weights of a plain Hugging Face model, for programs that know nothing of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.backbones.checkpoints import quiet
from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.saving import save_encoder
from acclimate.backbones.towers import LowRankDeltas
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.backbone import Backbone


def is_plain(backbone: Backbone) -> bool:
    """Return whether the model of a backbone is a dual encoder of transformers, and none of this package."""
    return isinstance(backbone, DualEncoder) and type(backbone.model).__module__.startswith("transformers.")


@torch.no_grad()
def merge(backbone: DualEncoder, changes: Mapping[str, LowRankDeltas], projection: Tensor | None = None) -> nn.Module:
    """Return a copy of the model of a backbone in which the weights are W + scale b diag(s) a, and norms changed.

    Args:
        backbone: whose weights stay as they are.
        changes: those of the towers, by "text" and "vision".
        projection: (E, Dv) in place of the vision projection.

    Raises:
        BackboneError: a projection is given, and the family has none.
    """
    family = type(backbone._family)(copy.deepcopy(backbone.model))
    for tower, deltas in changes.items():
        for number, block in enumerate(getattr(family, tower).blocks):
            for name, change in deltas.at(number).items():
                b = change.b if change.s is None else change.b * change.s
                getattr(block, name).weight += (change.scale * b @ change.a).to(backbone.dtype)
            for name, norm in deltas.norms_at(number).items():
                getattr(block, name).weight += norm.weight.to(backbone.dtype)
                getattr(block, name).bias += norm.bias.to(backbone.dtype)
    if projection is not None:
        if not isinstance(family.vision_projection, nn.Parameter):
            raise BackboneError(f"{backbone.name}: {backbone.family} has no vision projection that could be changed")
        family.vision_projection.copy_(projection.to(backbone.dtype))
    return family.model


def save_plain(model: nn.Module, backbone: DualEncoder, folder: Path) -> None:
    """Write a model made by `merge` with the tokenizer and the image processor of its backbone.

    Raises:
        RunError: it cannot be written.
        BackboneError: the backbone has no image processor.
    """
    _ = backbone.transform  # refuses a backbone without one
    assert backbone._processor is not None
    save_encoder(model, backbone._processor, folder)
    with quiet():
        backbone.tokenizer.tokenizer.save_pretrained(folder)


@torch.no_grad()
def plain_image_features(folder: Path, pixels: Tensor) -> Tensor:
    """Return what the model in a folder, opened by transformers alone, makes of normalised pixels (B, 3, H, W): (B, E).

    Raises:
        OSError: there is none.
    """
    from transformers import AutoModel

    with quiet():
        model: Any = AutoModel.from_pretrained(folder, torch_dtype=torch.float32)
    found = model.get_image_features(pixel_values=pixels)
    features: Tensor = getattr(found, "pooler_output", found)  # earlier releases return the features themselves
    return features
