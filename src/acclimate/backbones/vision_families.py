"""One feature per image from each family of vision encoders: which model holds it, and how its tokens are pooled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from acclimate.backbones.recording import Readout, Seeing, watched


def _cls(model: Any, pixels: Tensor) -> Tensor:
    return _hidden(model, pixels)[:, 0]


def _patch_mean(model: Any, pixels: Tensor) -> Tensor:
    return _hidden(model, pixels)[:, 1:].mean(1)


def patch_tokens(model: Any, count: int, pixels: Tensor) -> Tensor:
    """Return the tokens of the patches (B, P F) of images, one behind another; they are the last ones everywhere."""
    return _hidden(model, pixels)[:, -count:].flatten(1)


def patch_grid(config: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of the patches of images of a height and a width in pixels."""
    patch = config.patch_size
    height, width = patch if isinstance(patch, list | tuple) else (patch, patch)
    return size[0] // height, size[1] // width


def _hidden(model: Any, pixels: Tensor) -> Tensor:
    if model.config.model_type != "vit_mae":
        return model(pixel_values=pixels).last_hidden_state
    # A masked autoencoder shuffles its patches by the order of some noise; rising noise leaves them in place. With
    # `mask_ratio` 0 (set on loading) it drops none.
    count = model.embeddings.patch_embeddings.num_patches
    noise = torch.arange(count, dtype=torch.float32, device=pixels.device).expand(pixels.shape[0], count)
    return model(pixel_values=pixels, noise=noise).last_hidden_state


def _token_mean(model: Any, pixels: Tensor) -> Tensor:
    return _hidden(model, pixels).mean(1)


def _pooler(model: Any, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).pooler_output.flatten(1)  # (B, F), of ResNet from (B, F, 1, 1)


def _spatial_mean(model: Any, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).last_hidden_state.mean((2, 3))  # (B, F, h, w) to (B, F)


POOLINGS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "cls": _cls,
    "patch-mean": _patch_mean,
    "token-mean": _token_mean,
    "pooler": _pooler,
    "spatial-mean": _spatial_mean,
}


@dataclass(frozen=True)
class VisionFamily:
    """A family of vision encoders: how it is loaded, and how its tokens become one feature.

    Attributes:
        model: the transformers class of the encoder alone; checkpoints of models that contain it load as well.
        pooling: a key of `POOLINGS`.
        processor: family of its image processor, for files that do not name theirs.
        width: the entry of its configuration that holds the width of the feature, the last one where it is a list.
        any_size: whether it takes images of other sizes than its configuration names.
        patches: whether it has a token for each patch, all as wide as the feature.
        readout: how attention leads from these to the feature, see `Pass`; none where that is not known.
        statistics: whether it normalises by means and variances of its pretraining, which decide the feature as weights
            do.
        options: passed to the class.
        settings: entries of the configuration to change after loading.
    """

    model: str
    pooling: str
    processor: str
    width: str = "hidden_size"
    any_size: bool = False
    patches: bool = False
    readout: Readout | None = None
    statistics: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def _of_patches(
    model: str, pooling: str, processor: str, readout: Readout = "first", any_size: bool = False, **others: Any
) -> VisionFamily:
    return VisionFamily(model, pooling, processor, any_size=any_size, patches=True, readout=readout, **others)


_ALONE = {"add_pooling_layer": False}
_CLIP = _of_patches("CLIPVisionModel", "pooler", "clip")
_SIGLIP = _of_patches("SiglipVisionModel", "pooler", "siglip", "head")
_METACLIP = _of_patches("MetaClip2VisionModel", "pooler", "metaclip_2")
_SAM = VisionFamily("SamVisionModel", "spatial-mean", "sam", width="output_channels")

# By the `model_type` of config.json.
VISION_FAMILIES: dict[str, VisionFamily] = {
    "vit": _of_patches("ViTModel", "cls", "vit", options=_ALONE),
    "vit_mae": _of_patches("ViTMAEModel", "patch-mean", "vit", "mean", settings={"mask_ratio": 0.0}),
    "deit": _of_patches("DeiTModel", "cls", "deit", options=_ALONE),
    "vit_msn": _of_patches("ViTMSNModel", "cls", "vit"),
    "ijepa": _of_patches("IJepaModel", "token-mean", "vit", "mean", options=_ALONE),
    "data2vec-vision": VisionFamily(
        "Data2VecVisionModel", "pooler", "beit", patches=True, options={"add_pooling_layer": True}
    ),
    "resnet": VisionFamily("ResNetModel", "pooler", "convnext", width="hidden_sizes", any_size=True, statistics=True),
    "efficientnet": VisionFamily(
        "EfficientNetModel", "pooler", "efficientnet", width="hidden_dim", any_size=True, statistics=True
    ),
    "dinov2": _of_patches("Dinov2Model", "cls", "bit", any_size=True),
    "dinov2_with_registers": _of_patches("Dinov2WithRegistersModel", "cls", "bit", any_size=True),
    "dinov3_vit": _of_patches("DINOv3ViTModel", "cls", "dinov3", any_size=True),
    "dinov3_convnext": VisionFamily("DINOv3ConvNextModel", "pooler", "dinov3", width="hidden_sizes", any_size=True),
    "swin": VisionFamily("SwinModel", "pooler", "vit", any_size=True),
    "swinv2": VisionFamily("Swinv2Model", "pooler", "vit", any_size=True),
    "convnext": VisionFamily("ConvNextModel", "pooler", "convnext", width="hidden_sizes", any_size=True),
    "convnextv2": VisionFamily("ConvNextV2Model", "pooler", "convnext", width="hidden_sizes", any_size=True),
    "beit": VisionFamily("BeitModel", "pooler", "beit", patches=True),
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "metaclip_2": _METACLIP,
    "metaclip_2_vision_model": _METACLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "sam": _SAM,
    "sam_vision_model": _SAM,
}


def watched_model(
    encoder: Seeing, model_type: str, config: Any, every_patch: bool = False
) -> AbstractContextManager[None]:
    """Return what stands around a pass of a model of transformers, see `watched`.

    Args:
        encoder: whose pass it is.
        model_type: its family.
        config: of the model.
        every_patch: whether the tokens of all patches are the feature, of which none is a readout.
    """
    readout = None if every_patch else VISION_FAMILIES[model_type].readout
    if readout is None:
        return watched(encoder, (0, 0), None, "mean", 0)
    grid = patch_grid(config, encoder.transform.output_size)
    return watched(encoder, grid, None, readout, config.num_hidden_layers + (readout == "head"))
