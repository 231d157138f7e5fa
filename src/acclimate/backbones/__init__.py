"""Pretrained dual encoders, vision encoders and generative models: the only room that knows transformers' internals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.backbones.catalogue import BackboneInfo, list_backbones
from acclimate.modules import on_first_use

if TYPE_CHECKING:
    from acclimate.backbones.domain_encoder import DomainEncoder, load_domain_encoder
    from acclimate.backbones.dual_encoder import DualEncoder
    from acclimate.backbones.encoder import Encoder
    from acclimate.backbones.generative import Conversation, GenerativeVLM, LowRankAdapter, load_vlm
    from acclimate.backbones.loading import load_backbone
    from acclimate.backbones.open_clip.converting import convert_backbone
    from acclimate.backbones.towers import ClassTokens, LowRank, LowRankDeltas, NormChange

__all__ = [
    "BackboneInfo",
    "ClassTokens",
    "Conversation",
    "DomainEncoder",
    "DualEncoder",
    "Encoder",
    "GenerativeVLM",
    "LowRank",
    "LowRankAdapter",
    "LowRankDeltas",
    "NormChange",
    "convert_backbone",
    "list_backbones",
    "load_backbone",
    "load_domain_encoder",
    "load_vlm",
]

_HOMES = {
    "ClassTokens": "towers",
    "Conversation": "generative",
    "DomainEncoder": "domain_encoder",
    "DualEncoder": "dual_encoder",
    "Encoder": "encoder",
    "GenerativeVLM": "generative",
    "LowRank": "towers",
    "LowRankAdapter": "generative",
    "LowRankDeltas": "towers",
    "NormChange": "towers",
    "convert_backbone": "open_clip.converting",
    "load_backbone": "loading",
    "load_domain_encoder": "domain_encoder",
    "load_vlm": "generative",
}

__getattr__ = on_first_use(__name__, _HOMES)
