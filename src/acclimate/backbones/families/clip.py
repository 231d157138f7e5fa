"""CLIP and what is saved in its format: OpenAI CLIP, MetaCLIP, TinyCLIP, LAION's ViTs."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from acclimate.backbones.architecture import Architecture
from acclimate.backbones.families.base import Family

LEGACY_EOS = 2  # written into configs before transformers 4.31, whatever the tokenizer's EOS was


class ClipFamily(Family):
    """Causal text tower pooled at EOS, vision tower pooled at CLS, a linear projection on each."""

    name: ClassVar[str] = "clip"
    causal_text: ClassVar[bool] = True
    trims_text: ClassVar[bool] = True
    vision_pool: ClassVar[int | None] = 0

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.embed_dim = int(model.config.projection_dim)
        self.eos = int(self.text_config.eos_token_id)

    @classmethod
    def model_class(cls) -> Any:
        """`transformers.CLIPModel`."""
        from transformers import CLIPModel

        return CLIPModel

    @property
    def architecture(self) -> Architecture:
        """What the forward pass takes from config.json, with the token that ends texts."""
        return super().architecture.plus("text", "eos_token_id", *self._end_of_text())

    def _end_of_text(self) -> tuple[int, int]:
        """Return the token that ends texts, and the one that usually does: the last one."""
        last = len(self.token_table) - 1
        return last if self.eos == LEGACY_EOS else self.eos, last

    def enter_vision(self, x: Tensor) -> Tensor:
        """The norm before the first layer."""
        return self.vision_model.pre_layrnorm(x)

    def text_lengths(self, ids: Tensor) -> Tensor:
        """Up to the first EOS; where the config holds the legacy id, the highest id, as such checkpoints were trained.

        Nothing after that token can reach it.
        """
        return (ids if self.eos == LEGACY_EOS else (ids == self.eos).int()).argmax(dim=1) + 1

    def leave_text(self, x: Tensor, project: bool) -> Tensor:
        """Final norm and projection."""
        x = self.text_model.final_layer_norm(x)
        return self.model.text_projection(x) if project else x

    @property
    def vision_projection(self) -> Tensor:
        """The projection, which has no bias."""
        return self.model.visual_projection.weight

    def leave_vision(self, x: Tensor, project: bool) -> Tensor:
        """Final norm and projection."""
        x = self.vision_model.post_layernorm(x)
        return self.model.visual_projection(x) if project else x
