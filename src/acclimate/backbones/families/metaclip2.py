"""MetaCLIP 2: CLIP's towers, with a tokenizer of many languages."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from acclimate.backbones.families.clip import ClipFamily

EOS = 2  # of its tokenizer


class MetaClip2Family(ClipFamily):
    """CLIP whose texts end with the token that the configuration names, also where that is 2."""

    name: ClassVar[str] = "metaclip_2"

    @classmethod
    def model_class(cls) -> Any:
        """`transformers.MetaClip2Model`."""
        from transformers import MetaClip2Model

        return MetaClip2Model

    def _end_of_text(self) -> tuple[int, int]:
        return self.eos, EOS

    def text_lengths(self, ids: Tensor) -> Tensor:
        """Up to the first EOS."""
        return (ids == self.eos).int().argmax(dim=1) + 1
