"""Tiny vision encoders with random weights, saved as transformers saves real ones.

`CASES` has every family that can be a domain encoder, as the model that its checkpoints usually hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import Tensor
from transformers.models.beit.image_processing_pil_beit import BeitImageProcessorPil
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from tests.helpers.tiny_backbones import randomise

_SHAPE = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_VIT = {**_SHAPE, "image_size": 32, "patch_size": 8}
_TEXT = {**_SHAPE, "vocab_size": 16, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
_STAGES = {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1], "image_size": 32}
_WINDOWS = {"embed_dim": 8, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4, "image_size": 32, "patch_size": 4}
_MAE = {"decoder_hidden_size": 16, "decoder_intermediate_size": 16, "decoder_num_attention_heads": 2}
_SAM_VISION = {
    **{"hidden_size": 16, "output_channels": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_dim": 32},
    **{"image_size": 32, "patch_size": 4, "window_size": 3, "global_attn_indexes": [1], "num_pos_feats": 6},
}
_SAM_PROMPTS = {"hidden_size": 12, "image_size": 32, "patch_size": 4, "mask_input_channels": 4}
_SAM_MASKS = {"hidden_size": 12, "mlp_dim": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
_RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
_EFFICIENT = {
    **{"image_size": 32, "width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320},
    **{"kernel_sizes": [3, 3], "in_channels": [32, 16], "out_channels": [16, 24], "strides": [1, 2]},
    **{"num_block_repeats": [1, 1], "expand_ratios": [1, 6], "depthwise_padding": []},
}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

_STRETCH = ViTImageProcessorPil(size={"height": 32, "width": 32}, **_IMAGENET)
_CROP = BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=32, **_IMAGENET)
_PAD = SamImageProcessorPil(size={"longest_edge": 32}, pad_size={"height": 32, "width": 32})
_DEIT = DeiTImageProcessorPil(size={"height": 36, "width": 36}, crop_size={"height": 32, "width": 32}, **_IMAGENET)
_EFFICIENTNET = EfficientNetImageProcessorPil(size={"height": 32, "width": 32}, **_IMAGENET)
_CONVNEXT = ConvNextImageProcessorPil(size={"shortest_edge": 32})
_CLIP = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
_SIGLIP = SiglipImageProcessorPil(size={"height": 32, "width": 32})


@dataclass(frozen=True)
class Case:
    """A model, its image processor, and the feature that a domain encoder reads from it.

    Attributes:
        make: gives the model.
        processor: its image processor, which has a Pillow backend.
        feature: (model, pixels) to features, by the model's own forward pass.
        width: of the feature.
        pooling: name of the pooling.
        alone: gives the encoder out of the model, where it can be saved alone.
    """

    make: Callable[[], Any]
    processor: Any
    feature: Callable[[Any, Tensor], Tensor]
    width: int
    pooling: str
    alone: Callable[[Any], Any] | None = None

    def save(self, path: Path, seed: int = 0, **options: Any) -> Any:
        """Save the model with random weights and its processor; returns the model."""
        model = randomise(self.make(), seed)
        model.save_pretrained(path, **options)
        self.processor.save_pretrained(path)
        return model


def _vit_with_pooler(model: Any) -> Any:
    """A ViTModel, which has a pooler that its classifiers do not have."""
    alone = hf.ViTModel(model.config)
    alone.load_state_dict(model.vit.state_dict(), strict=False)
    return alone


def _plain_mae(model: Any, pixels: Tensor) -> Tensor:
    """Mean patch token of a plain ViT with the same weights, which neither hides nor moves a patch."""
    encoder = getattr(model, "vit", model)
    plain = hf.ViTModel(hf.ViTConfig(**_VIT), add_pooling_layer=False).eval()
    plain.load_state_dict(encoder.state_dict())
    return plain(pixels).last_hidden_state[:, 1:].mean(1)


def _cls(part: str = "") -> Callable[[Any, Tensor], Tensor]:
    return lambda model, pixels: (getattr(model, part) if part else model)(pixels).last_hidden_state[:, 0]


def _token_mean(part: str) -> Callable[[Any, Tensor], Tensor]:
    return lambda model, pixels: getattr(model, part)(pixels).last_hidden_state.mean(1)


def _map_mean(part: str) -> Callable[[Any, Tensor], Tensor]:
    """What the heads of ConvNeXt read: the norm of the mean of the last map."""

    def feature(model: Any, pixels: Tensor) -> Tensor:
        encoder = getattr(model, part)
        return encoder.layernorm(encoder(pixels).last_hidden_state.mean((2, 3)))

    return feature


def _dinov3_convnext(model: Any, pixels: Tensor) -> Tensor:
    stages = model(pixels, output_hidden_states=True).hidden_states
    return model.layer_norm(stages[-1].mean((2, 3)))


def _dual_clip() -> Any:
    return hf.CLIPModel(hf.CLIPConfig(text_config=_TEXT, vision_config=_VIT, projection_dim=20))


def _dual_siglip() -> Any:
    return hf.SiglipModel(hf.SiglipConfig(text_config=_TEXT, vision_config=_VIT))


def _sam() -> Any:
    parts = {"prompt_encoder_config": _SAM_PROMPTS, "mask_decoder_config": _SAM_MASKS}
    return hf.SamModel(hf.SamConfig(vision_config=_SAM_VISION, **parts))


def _pooled(model: Any, pixels: Tensor) -> Tensor:
    return getattr(model, "vision_model", model)(pixel_values=pixels).pooler_output


def _neck_mean(model: Any, pixels: Tensor) -> Tensor:
    return model.vision_encoder(pixels).last_hidden_state.mean((2, 3))


def _beit(mean: bool) -> Callable[[], Any]:
    options = {"use_mask_token": True, "use_mean_pooling": mean, "use_relative_position_bias": True}
    return lambda: hf.BeitForImageClassification(hf.BeitConfig(**_VIT, **options))


def _beit_mean(model: Any, pixels: Tensor) -> Tensor:
    """What its classifier reads: the norm of the mean patch token."""
    return model.beit.pooler.layernorm(model.beit(pixels).last_hidden_state[:, 1:].mean(1))


def _data2vec_mean(model: Any, pixels: Tensor) -> Tensor:
    """What its classifier reads: the norm of the mean patch token."""
    encoder = model.data2vec_vision
    return encoder.pooler.layernorm(encoder(pixels).last_hidden_state[:, 1:].mean(1))


def _with_statistics(model: Any) -> Any:
    """Draw the means and variances of batch norms, which are 0 and 1 in a new model."""
    generator = torch.Generator().manual_seed(5)
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.copy_(0.2 * torch.randn(value.shape, generator=generator))
        if name.endswith("running_var"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return model


_BEIT = BeitImageProcessorPil(size={"height": 32, "width": 32})
_REGISTERS = {"num_register_tokens": 3}

CASES: dict[str, Case] = {
    "vit": Case(
        lambda: hf.ViTForImageClassification(hf.ViTConfig(**_VIT)), _STRETCH, _cls("vit"), 24, "cls",
        _vit_with_pooler,
    ),
    "vit_mae": Case(
        lambda: hf.ViTMAEForPreTraining(hf.ViTMAEConfig(**_VIT, **_MAE, decoder_num_hidden_layers=1)),
        _STRETCH, _plain_mae, 24, "patch-mean", lambda model: model.vit,
    ),
    "deit": Case(
        lambda: hf.DeiTForImageClassificationWithTeacher(hf.DeiTConfig(**_VIT)), _DEIT, _cls("deit"), 24, "cls",
        lambda model: model.deit,
    ),
    "vit_msn": Case(
        lambda: hf.ViTMSNForImageClassification(hf.ViTMSNConfig(**_VIT)), _STRETCH, _cls("vit"), 24, "cls",
        lambda model: model.vit,
    ),
    "ijepa": Case(
        lambda: hf.IJepaForImageClassification(hf.IJepaConfig(**_VIT)), _STRETCH, _token_mean("ijepa"), 24,
        "token-mean", lambda model: model.ijepa,
    ),
    "data2vec-vision": Case(
        lambda: hf.Data2VecVisionForImageClassification(hf.Data2VecVisionConfig(**_VIT, use_mean_pooling=True)),
        _BEIT, _data2vec_mean, 24, "pooler", lambda model: model.data2vec_vision,
    ),
    "resnet": Case(
        lambda: _with_statistics(hf.ResNetForImageClassification(hf.ResNetConfig(**_RESNET))),
        _CONVNEXT, lambda model, pixels: model.resnet(pixels).last_hidden_state.mean((2, 3)), 16, "pooler",
        lambda model: model.resnet,
    ),
    "efficientnet": Case(
        lambda: _with_statistics(hf.EfficientNetForImageClassification(hf.EfficientNetConfig(**_EFFICIENT))),
        _EFFICIENTNET, lambda model, pixels: model.efficientnet(pixels).last_hidden_state.mean((2, 3)), 320, "pooler",
        lambda model: model.efficientnet,
    ),
    "metaclip_2": Case(
        lambda: hf.MetaClip2Model(
            hf.MetaClip2Config(text_config=_TEXT, vision_config=_VIT, projection_dim=20)
        ),
        _CLIP, _pooled, 24, "pooler",
    ),
    "metaclip_2_vision_model": Case(
        lambda: hf.MetaClip2VisionModel(hf.MetaClip2VisionConfig(**_VIT)), _CLIP, _pooled, 24, "pooler"
    ),
    "dinov2": Case(lambda: hf.Dinov2Model(hf.Dinov2Config(**_VIT)), _CROP, _cls(), 24, "cls"),
    "dinov2_with_registers": Case(
        lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**_VIT, **_REGISTERS)),
        _CROP, _cls(), 24, "cls",
    ),
    "dinov3_vit": Case(
        lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**_VIT, **_REGISTERS)), _STRETCH, _cls(), 24, "cls"
    ),
    "dinov3_convnext": Case(
        lambda: hf.DINOv3ConvNextModel(hf.DINOv3ConvNextConfig(**_STAGES)), _STRETCH, _dinov3_convnext, 20, "pooler"
    ),
    "swin": Case(
        lambda: hf.SwinForImageClassification(hf.SwinConfig(**_WINDOWS)), _STRETCH, _token_mean("swin"), 16, "pooler",
        lambda model: model.swin,
    ),
    "swinv2": Case(
        lambda: hf.Swinv2ForImageClassification(hf.Swinv2Config(**_WINDOWS)),
        _STRETCH, _token_mean("swinv2"), 16, "pooler", lambda model: model.swinv2,
    ),
    "convnext": Case(
        lambda: hf.ConvNextForImageClassification(hf.ConvNextConfig(**_STAGES)),
        _CONVNEXT, _map_mean("convnext"), 20, "pooler", lambda model: model.convnext,
    ),
    "convnextv2": Case(
        lambda: hf.ConvNextV2ForImageClassification(hf.ConvNextV2Config(**_STAGES)),
        _CONVNEXT, _map_mean("convnextv2"), 20, "pooler", lambda model: model.convnextv2,
    ),
    "beit": Case(_beit(True), _BEIT, _beit_mean, 24, "pooler", lambda model: model.beit),
    "beit, class token": Case(_beit(False), _BEIT, _cls("beit"), 24, "pooler", lambda model: model.beit),
    "clip": Case(_dual_clip, _CLIP, _pooled, 24, "pooler"),
    "clip_vision_model": Case(
        lambda: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**_VIT, projection_dim=20)),
        _CLIP, _pooled, 24, "pooler",
    ),
    "siglip": Case(_dual_siglip, _SIGLIP, _pooled, 24, "pooler"),
    "siglip_vision_model": Case(
        lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**_VIT)), _SIGLIP, _pooled, 24, "pooler"
    ),
    "sam": Case(_sam, _PAD, _neck_mean, 12, "spatial-mean"),
    "sam_vision_model": Case(
        lambda: hf.SamVisionModel(hf.SamVisionConfig(**_SAM_VISION)), _PAD, _neck_mean, 12, "spatial-mean"
    ),
}  # fmt: skip
