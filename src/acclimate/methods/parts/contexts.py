"""What a learned context starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.prompts import PromptSet


def initial_context(backbone: DualEncoder, prompts: PromptSet, words: str | None, tokens: int) -> Tensor:
    """Return context vectors (M, D): the embeddings of words, or draws from N(0, 0.02²).

    Args:
        backbone: whose word embeddings to take.
        prompts: its template is meant by `words="template"`: the part before the class.
        words: such as "a photo of a"; none, or a template that begins with the class, for random vectors.
        tokens: M where the vectors are random.
    """
    if words == "template":
        words = prompts.lead_in
    if words:
        return backbone.word_embeddings(words).detach().float().clone()
    return torch.randn(tokens, backbone.text_width, device=backbone.device) * 0.02
