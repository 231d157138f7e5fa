"""LLaVA 1.5: a CLIP or SigLIP tower, a two-layer connector, any causal language model."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from acclimate.backbones.generative.families.base import VLMFamily, one_side


class LlavaFamily(VLMFamily):
    """One square image of fixed size; its tokens stand where the template writes `<image>`."""

    name: ClassVar[str] = "llava"
    model_class: ClassVar[str] = "LlavaForConditionalGeneration"
    processor: ClassVar[str] = "clip"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.side = one_side(self.vision_config.image_size)
        patches = (self.side // int(self.vision_config.patch_size)) ** 2
        has_class_token = self.vision_config.model_type == "clip_vision_model"
        dropped = self.config.vision_feature_select_strategy == "default"
        self.image_tokens = patches + has_class_token - dropped
        self.parts_from = has_class_token - dropped if self.image_tokens >= patches else None
        layers = self.config.vision_feature_layer
        self.vision_width = int(self.vision_config.hidden_size) * (1 if isinstance(layers, int) else len(layers))
        self.vision_tokens = self.image_tokens

    def _features(self, pixels: Tensor) -> Tensor:
        found = self.inner.get_image_features(
            pixel_values=pixels,
            vision_feature_layer=self.config.vision_feature_layer,
            vision_feature_select_strategy=self.config.vision_feature_select_strategy,
            return_dict=True,
        ).pooler_output
        return found if isinstance(found, Tensor) else torch.stack(list(found))
