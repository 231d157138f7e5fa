"""One feature per image from each family of vision encoders: which model holds it, and how its tokens are pooled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


def _cls(model: Any, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).last_hidden_state[:, 0]


def _patch_mean(model: Any, pixels: Tensor) -> Tensor:
    # A masked autoencoder shuffles its patches by the order of some noise; rising noise leaves them in place. With
    # `mask_ratio` 0 (set on loading) it drops none.
    count = model.embeddings.patch_embeddings.num_patches
    noise = torch.arange(count, dtype=torch.float32, device=pixels.device).expand(len(pixels), count)
    return model(pixel_values=pixels, noise=noise).last_hidden_state[:, 1:].mean(1)


def _pooler(model: Any, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).pooler_output


def _spatial_mean(model: Any, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).last_hidden_state.mean((2, 3))  # (B, F, h, w) to (B, F)


POOLINGS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "cls": _cls,
    "patch-mean": _patch_mean,
    "pooler": _pooler,
    "spatial-mean": _spatial_mean,
}


@dataclass(frozen=True)
class Reading:
    """How a family of encoders is read.

    Attributes:
        model: the transformers class of the encoder alone; checkpoints of models that contain it load as well.
        pooling: a key of `POOLINGS`.
        processor: family of its image processor, for files that do not name theirs.
        width: the entry of its configuration that holds the width of the feature, the last one where it is a list.
        any_size: whether it takes images of other sizes than its configuration names.
        options: passed to the class.
        settings: entries of the configuration to change after loading.
    """

    model: str
    pooling: str
    processor: str
    width: str = "hidden_size"
    any_size: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


_CLIP = Reading("CLIPVisionModel", "pooler", "clip")
_SIGLIP = Reading("SiglipVisionModel", "pooler", "siglip")
_SAM = Reading("SamVisionModel", "spatial-mean", "sam", width="output_channels")

# By the `model_type` of config.json.
READINGS: dict[str, Reading] = {
    "vit": Reading("ViTModel", "cls", "vit", options={"add_pooling_layer": False}),
    "vit_mae": Reading("ViTMAEModel", "patch-mean", "vit", settings={"mask_ratio": 0.0}),
    "dinov2": Reading("Dinov2Model", "cls", "bit", any_size=True),
    "dinov2_with_registers": Reading("Dinov2WithRegistersModel", "cls", "bit", any_size=True),
    "dinov3_vit": Reading("DINOv3ViTModel", "cls", "dinov3", any_size=True),
    "dinov3_convnext": Reading("DINOv3ConvNextModel", "pooler", "dinov3", width="hidden_sizes", any_size=True),
    "swin": Reading("SwinModel", "pooler", "vit", any_size=True),
    "swinv2": Reading("Swinv2Model", "pooler", "vit", any_size=True),
    "convnext": Reading("ConvNextModel", "pooler", "convnext", width="hidden_sizes", any_size=True),
    "convnextv2": Reading("ConvNextV2Model", "pooler", "convnext", width="hidden_sizes", any_size=True),
    "beit": Reading("BeitModel", "pooler", "beit"),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "sam": _SAM,
    "sam_vision_model": _SAM,
}
