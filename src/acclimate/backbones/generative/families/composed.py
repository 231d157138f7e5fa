"""A model composed of a dual encoder's image tower and a language model, which have never met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from acclimate.backbones.families import Family
from acclimate.backbones.generative.families.base import VLMFamily

PLACEHOLDER = "<image>"
SEED = 0  # of the map, before it is learned


class Parts(nn.Module):
    """The two towers, and a linear map from the patches of an image to the embeddings of tokens.

    Args:
        vision: the image tower.
        language: the language model without its head.
        head: of the language model.
        vision_width, token_width: of the map.
    """

    def __init__(
        self, vision: nn.Module, language: nn.Module, head: nn.Module, vision_width: int, token_width: int
    ) -> None:
        super().__init__()
        self.vision, self.language, self.head = vision, language, head
        first = next(head.parameters())
        self.connector = nn.Linear(vision_width, token_width).to(first.device, first.dtype)
        drawn = torch.randn(token_width, vision_width, generator=torch.Generator().manual_seed(SEED))
        with torch.no_grad():
            self.connector.weight.copy_(drawn * vision_width**-0.5)
            self.connector.bias.zero_()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.connector.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.connector.weight.dtype


class ComposedFamily(VLMFamily):
    """The patches of the image, through one linear map, stand before the text (LiMBeR, arXiv 2209.15162).

    The map is drawn from a fixed seed and says nothing until a method has learned one.

    Args:
        dual: the family of the dual encoder, with its weights.
        language: the language model without its head, in Hugging Face's form.
        head: of the language model.
        image_id: the placeholder of a vector.
        chats: whether the tokenizer has a chat template with a place for the image; else questions and answers are
            written as "Q: ... A: ...".
    """

    name: ClassVar[str] = "composed"
    model_class: ClassVar[str] = ""

    def __init__(self, dual: Family, language: Any, head: nn.Linear, image_id: int, chats: bool) -> None:
        self.text_config, self.vision_config = language.config, dual.vision_config
        self.config = language.config
        self.embedding, self.inner, self.language, self.head = language.get_input_embeddings(), language, language, head
        self.image_id, self.chats, self._dual = image_id, chats, dual
        self.token_width = self.payload = int(self.text_config.hidden_size)
        self.context_length = int(self.text_config.max_position_embeddings)
        self.vocabulary = int(head.weight.shape[0])
        self.side, self.vision_width = dual.image_size, dual.vision_width
        self.image_tokens = self.vision_tokens = (self.side // int(self.vision_config.patch_size)) ** 2
        self.processor = dual.name  # type: ignore[misc]  # of the image tower that it has
        self.model = Parts(dual.vision_model, language, head, self.vision_width, self.token_width)

    @property
    def connector(self) -> nn.Module:
        """The linear map."""
        return self.model.connector

    def plain_text(self, tokenizer: Any, instruction: str, response: str | None) -> str | None:
        """Question and answer as text, for a language model that does not chat about images."""
        if self.chats:
            return None
        begin = tokenizer.bos_token or ""
        return f"{begin}{PLACEHOLDER}Q: {instruction}\nA:{'' if response is None else f' {response}'}"

    def plain_examples(self, tokenizer: Any, examples: Sequence[tuple[str, str]]) -> str:
        """Images with question and answer, a line feed behind each."""
        return "".join(f"{PLACEHOLDER}Q: {asked}\nA: {answer}\n" for asked, answer in examples)

    def _features(self, pixels: Tensor) -> Tensor:
        found = self._dual.vision_model(pixel_values=pixels).last_hidden_state
        return self.connector(found if self._dual.vision_pool is None else found[:, 1:])
