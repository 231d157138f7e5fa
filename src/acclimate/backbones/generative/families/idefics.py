"""Idefics3 and SmolVLM: a SigLIP tower, pixel shuffle inside the connector, a Llama-like language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from acclimate.backbones.generative.families.base import OwnShape, VLMFamily, one_side, square

FAKE, GLOBAL = "<fake_token_around_image>", "<global-img>"


class Idefics3Family(VLMFamily):
    """The global image alone, stretched to the square that the tower takes, without splitting."""

    name: ClassVar[str] = "idefics3"
    model_class: ClassVar[str] = "Idefics3ForConditionalGeneration"
    shapes: ClassVar[str | None] = "Idefics3ImageProcessor"
    _language: ClassVar[str] = "text_model"
    _connector: ClassVar[str] = "connector"

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.side = one_side(self.vision_config.image_size)
        self.patches = self.side // int(self.vision_config.patch_size)
        self.image_tokens = int(self.inner.image_seq_len)
        self.vision_width = int(self.vision_config.hidden_size)
        self.vision_tokens = self.patches**2

    def processor_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stretch to the square."""
        return square(config, self.side)

    def framed(self, text: str, tokenizer: Any, tiles: tuple[int, int]) -> str:
        """Write the tiles row by row, then the global image."""
        image, (rows, columns) = tokenizer.convert_ids_to_tokens(self.image_id), tiles
        lines = [
            "".join(f"{FAKE}<row_{row + 1}_col_{column + 1}>{image}" for column in range(columns)) + "\n"
            for row in range(rows)
        ]
        block = "".join(lines) + ("\n" if rows else "") + f"{FAKE}{GLOBAL}{image}{FAKE}"
        return text.replace(image, block)

    def closing(self, tokenizer: Any) -> int | None:
        """The token that stands around images."""
        return int(tokenizer.convert_tokens_to_ids(FAKE))

    def own(self, inputs: Mapping[str, Tensor]) -> OwnShape:
        """All tiles, then the whole."""
        tiles = (int(inputs["rows"][0][0]), int(inputs["cols"][0][0]))
        return OwnShape(self._features(inputs["pixel_values"][0]).flatten(0, 1), tiles=tiles)

    def _features(self, pixels: Tensor) -> Tensor:
        # Not `get_image_features`: it takes an image of zeros for none.
        seen = torch.ones(len(pixels), self.patches, self.patches, dtype=torch.bool, device=pixels.device)
        hidden = self.inner.vision_model(pixel_values=pixels, patch_attention_mask=seen).last_hidden_state
        return self.inner.connector(hidden)


class SmolVLMFamily(Idefics3Family):
    """As Idefics3."""

    name: ClassVar[str] = "smolvlm"
    model_class: ClassVar[str] = "SmolVLMForConditionalGeneration"
    shapes: ClassVar[str | None] = "SmolVLMImageProcessor"
