"""LLaVA-NeXT and LLaVA-OneVision: an image as a whole and in tiles, with a vector at the end of every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.backbones.generative.families.base import OwnShape, VLMFamily, one_side, square
from acclimate.errors import BackboneError


class LlavaNextFamily(VLMFamily):
    """Every image stretched to the smallest square that the model's tiles make; own shapes with `encode_images`."""

    name: ClassVar[str] = "llava_next"
    model_class: ClassVar[str] = "LlavaNextForConditionalGeneration"
    processor: ClassVar[str] = "clip"
    shapes: ClassVar[str | None] = "LlavaNextImageProcessor"
    parts_from = None  # the whole image, then its rows, each with a vector that ends it

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.tile = one_side(self.vision_config.image_size)
        squares = [height for height, width in self.config.image_grid_pinpoints if height == width]
        if not squares:
            raise BackboneError(
                "image_grid_pinpoints of config.json has no square; use the files of the original model"
            )
        self.side = min(squares)
        across = self.tile // int(self.vision_config.patch_size)
        rows = self.side // self.tile * across
        self.image_tokens = across**2 + rows * (rows + 1)
        layers = self.config.vision_feature_layer
        self.vision_width = int(self.vision_config.hidden_size) * (1 if isinstance(layers, int) else len(layers))

    def processor_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stretch to the square."""
        return square(config, self.side)

    def own(self, inputs: Mapping[str, Tensor]) -> OwnShape:
        """By the model's own rules of tiling."""
        return OwnShape(self._packed(inputs["pixel_values"], inputs["image_sizes"])[0])

    def _features(self, pixels: Tensor) -> Tensor:
        tiles = pixels.unflatten(3, (-1, self.tile)).unflatten(2, (-1, self.tile))  # (B, 3, k, S, k, S)
        tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, k * k, 3, S, S)
        whole = F.interpolate(pixels.float(), (self.tile, self.tile), mode="bicubic", antialias=True).to(pixels.dtype)
        whole = pixels if self.tile == self.side else whole
        sizes = torch.tensor([pixels.shape[2:]] * len(pixels), device=pixels.device)
        return torch.stack(self._packed(torch.cat([whole[:, None], tiles], dim=1), sizes))

    def _packed(self, pixels: Tensor, sizes: Tensor) -> list[Tensor]:
        return list(
            self.inner.get_image_features(
                pixel_values=pixels,
                image_sizes=sizes,
                vision_feature_layer=self.config.vision_feature_layer,
                vision_feature_select_strategy=self.config.vision_feature_select_strategy,
                return_dict=True,
                **self._rules(),
            ).pooler_output
        )

    def _rules(self) -> dict[str, Any]:
        return {}


class LlavaOnevisionFamily(LlavaNextFamily):
    """As LLaVA-NeXT; very large images are shrunk to as many vectors as some tiles have."""

    name: ClassVar[str] = "llava_onevision"
    model_class: ClassVar[str] = "LlavaOnevisionForConditionalGeneration"
    processor: ClassVar[str] = "siglip"
    shapes: ClassVar[str | None] = "LlavaOnevisionImageProcessor"

    def _rules(self) -> dict[str, Any]:
        return {"vision_aspect_ratio": self.config.vision_aspect_ratio}
