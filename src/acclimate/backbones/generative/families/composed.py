"""A model composed of a dual encoder's image tower and a language model, which have never met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.dual_encoder import DualEncoder
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
        dual: the dual encoder.
        language: the language model without its head, in Hugging Face's form.
        head: of the language model.
        image_id: the placeholder of a vector.
        chats: whether the tokenizer has a chat template with a place for the image; else questions and answers are
            written as "Q: ... A: ...".
    """

    name: ClassVar[str] = "composed"
    model_class: ClassVar[str] = ""

    def __init__(self, dual: DualEncoder, language: Any, head: nn.Linear, image_id: int, chats: bool) -> None:
        self.dual: DualEncoder = dual
        self._tower = dual._family.vision_model
        self.text_config, self.vision_config = language.config, dual._family.vision_config
        self.config = language.config
        self.embedding, self.inner, self.language, self.head = language.get_input_embeddings(), language, language, head
        self.image_id, self.chats = image_id, chats
        self.token_width = self.payload = int(self.text_config.hidden_size)
        self.context_length = int(self.text_config.max_position_embeddings)
        self.vocabulary = int(head.weight.shape[0])
        self.side, self.vision_width = dual.image_size, dual.vision_width
        self.image_tokens = self.vision_tokens = (self.side // int(self.vision_config.patch_size)) ** 2
        self.processor = dual._family.processor  # type: ignore[misc]  # of the image tower that it has
        self.model = Parts(self._tower, language, head, self.vision_width, self.token_width)

    @property
    def connector(self) -> nn.Module:
        """The linear map."""
        return self.model.connector

    @property
    def architecture(self) -> Architecture:
        """What the forward passes take from config.json, and which text tower belongs to the image tower."""
        return super().architecture.plus("dual", "identity", self.dual.identity, None)

    @property
    def summary_width(self) -> int:
        """Width of the joint space, in which the dual encoder has an image."""
        return self.dual.embed_dim

    def plain_text(self, tokenizer: Any, instruction: str, response: str | None) -> str | None:
        """Question and answer as text, for a language model that does not chat about images."""
        if self.chats:
            return None
        begin = tokenizer.bos_token or ""
        return f"{begin}{PLACEHOLDER}Q: {instruction}\nA:{'' if response is None else f' {response}'}"

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the language model and its map read, and the image features of the dual encoder; one pass."""
        found = self._tower(pixel_values=pixels)
        vision = found.last_hidden_state[:, 0 if self.dual._family.vision_pool is None else 1 :]
        return self.connector(vision), vision, self.dual._family.pooled_vision(found) @ self.dual.vision_projection.T

    def plain_examples(self, tokenizer: Any, examples: Sequence[tuple[str, str]]) -> str:
        """Images with question and answer, a line feed behind each."""
        return "".join(f"{PLACEHOLDER}Q: {asked}\nA: {answer}\n" for asked, answer in examples)

    def _features(self, pixels: Tensor) -> Tensor:
        return self.features(pixels)[0]
