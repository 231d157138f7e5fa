"""InternVL in transformers' own port: InternViT, pixel shuffle, a connector, Qwen or another language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from acclimate.backbones.generative.families.base import OwnShape, VLMFamily, one_side, square


class InternVLFamily(VLMFamily):
    """One tile: every image is stretched to the square that a tile has, between the tokens that frame images."""

    name: ClassVar[str] = "internvl"
    model_class: ClassVar[str] = "InternVLForConditionalGeneration"
    processor: ClassVar[str] = "clip"
    shapes: ClassVar[str | None] = "GotOcr2ImageProcessor"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.side = one_side(self.vision_config.image_size)
        shrunk = float(self.config.downsample_ratio)
        self.image_tokens = int(self.side // one_side(self.vision_config.patch_size) * shrunk) ** 2
        self.vision_width = round(int(self.vision_config.hidden_size) / shrunk**2)
        self.vision_tokens = self.image_tokens

    def processor_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stretch to one tile."""
        return square(config, self.side)

    def framed(self, text: str, tokenizer: Any, tiles: tuple[int, int]) -> str:
        """Frame the image; all tiles stand in one frame."""
        image = tokenizer.convert_ids_to_tokens(self.image_id)
        return text.replace(image, f"{_start(tokenizer)}{image}{_end(tokenizer)}")

    def closing(self, tokenizer: Any) -> int | None:
        """The end of the frame."""
        return int(tokenizer.convert_tokens_to_ids(_end(tokenizer)))

    def own(self, inputs: Mapping[str, Tensor]) -> OwnShape:
        """All tiles, and the whole where there are several."""
        return OwnShape(self._features(inputs["pixel_values"]).flatten(0, 1))

    def _features(self, pixels: Tensor) -> Tensor:
        return self.inner.get_image_features(
            pixel_values=pixels,
            vision_feature_layer=self.config.vision_feature_layer,
            vision_feature_select_strategy=self.config.vision_feature_select_strategy,
            return_dict=True,
        ).pooler_output


def _start(tokenizer: Any) -> str:
    return getattr(tokenizer, "start_image_token", None) or "<img>"


def _end(tokenizer: Any) -> str:
    return getattr(tokenizer, "end_image_token", None) or "</img>"
