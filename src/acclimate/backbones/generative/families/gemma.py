"""PaliGemma and Gemma 3: a SigLIP tower and a Gemma; parts of the sequence see each other in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from acclimate.backbones.generative.families.base import Grid, VLMFamily, one_side, square


class PaliGemmaFamily(VLMFamily):
    """Image and prompt see each other, the response what precedes it.

    It has no chat template: the prompt is image, start token, instruction and line feed, the response its suffix.
    """

    name: ClassVar[str] = "paligemma"
    model_class: ClassVar[str] = "PaliGemmaForConditionalGeneration"
    shares_openings: ClassVar[bool] = False

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.side = one_side(self.vision_config.image_size)
        self.image_tokens = (self.side // int(self.vision_config.patch_size)) ** 2
        self.vision_width = int(self.vision_config.hidden_size)
        self.vision_tokens = self.image_tokens

    def plain_text(self, tokenizer: Any, instruction: str, response: str | None) -> str | None:
        """Prompt, and suffix."""
        image = tokenizer.convert_ids_to_tokens(self.image_id)
        return f"{image}{tokenizer.bos_token}{instruction}\n{'' if response is None else response}"

    def begun(self, tokenizer: Any, text: str) -> bool:
        """The start token stands behind the image."""
        return True

    def prefill(self, ids: Tensor, mask: Tensor, response: Tensor) -> dict[str, Tensor]:
        """Tell the response, and what is padded, from the part that sees itself in both directions."""
        return {"token_type_ids": (response | ~mask).long()}

    def positions(self, ids: Tensor, mask: Tensor, grids: Sequence[Grid | None]) -> Tensor:
        """Counted from 1."""
        return mask.long().cumsum(1)

    def logits(self, hidden: Tensor) -> Tensor:
        """Of the head, capped where the configuration says so."""
        logits, cap = self.head(hidden), getattr(self.text_config, "final_logit_softcapping", None)
        return (logits if cap is None else torch.tanh(logits / cap) * cap).float()

    def _features(self, pixels: Tensor) -> Tensor:
        return self.inner.get_image_features(pixels, return_dict=True).pooler_output


class Gemma3Family(VLMFamily):
    """The tokens of the image see each other; the image stands between two tokens and blank lines."""

    name: ClassVar[str] = "gemma3"
    model_class: ClassVar[str] = "Gemma3ForConditionalGeneration"
    continues_images: ClassVar[bool] = False

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.side = one_side(self.vision_config.image_size)
        self.image_tokens = int(self.config.mm_tokens_per_image)
        self.vision_width = int(self.vision_config.hidden_size)
        self.vision_tokens = (self.side // int(self.vision_config.patch_size)) ** 2

    def processor_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stretch to the square, without further crops."""
        return square(config, self.side)

    def framed(self, text: str, tokenizer: Any, tiles: tuple[int, int]) -> str:
        """Frame the image; the template writes its first token alone."""
        begin, image, end = tokenizer.convert_ids_to_tokens(
            [self.config.boi_token_index, self.image_id, self.config.eoi_token_index]
        )
        return text.replace(begin, f"\n\n{begin}{image}{end}\n\n")

    def closing(self, tokenizer: Any) -> int | None:
        """The token that ends the image."""
        return int(self.config.eoi_token_index)

    def prefill(self, ids: Tensor, mask: Tensor, response: Tensor) -> dict[str, Tensor]:
        """Say where the image is."""
        return {"token_type_ids": (ids == self.image_id).long()}

    def _features(self, pixels: Tensor) -> Tensor:
        return self.inner.get_image_features(pixels, return_dict=True).pooler_output
