"""SigLIP, and SigLIP 2 of fixed resolution, which is saved in the same format."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from acclimate.backbones.families.base import Family
from acclimate.errors import BackboneError


class SiglipFamily(Family):
    """Text tower without a causal mask, pooled at its last position, padding included; image pooled by attention."""

    name: ClassVar[str] = "siglip"
    causal_text: ClassVar[bool] = False
    trims_text: ClassVar[bool] = False
    vision_pool: ClassVar[int | None] = None

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        if not getattr(self.vision_model, "use_head", True):
            raise BackboneError("this SigLIP has no pooling head (vision_use_head is false); use one that has it")
        self.embed_dim = self.vision_width

    @classmethod
    def model_class(cls) -> Any:
        """`transformers.SiglipModel`."""
        from transformers import SiglipModel

        return SiglipModel

    def text_lengths(self, ids: Tensor) -> Tensor:
        """All of them: the last position, where texts are read, is padding in all but the longest ones."""
        return torch.full((ids.shape[0],), ids.shape[1], device=ids.device)

    def leave_text(self, x: Tensor, project: bool) -> Tensor:
        """Final norm and the linear head."""
        x = self.text_model.final_layer_norm(x)
        return self.text_model.head(x) if project else x

    @property
    def vision_projection(self) -> Tensor:
        """The identity: the pooling head already leads into the joint space."""
        return torch.eye(self.embed_dim, device=self.token_table.device, dtype=self.token_table.dtype)

    def leave_vision(self, x: Tensor, project: bool) -> Tensor:
        """Final norm and attention pooling; there is no projection, so `project` changes nothing."""
        return self.vision_model.head(self.vision_model.post_layernorm(x))
