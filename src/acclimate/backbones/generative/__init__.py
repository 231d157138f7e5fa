"""Generative vision-language models behind one interface: transformers' image-text-to-text models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.modules import on_first_use

if TYPE_CHECKING:
    from acclimate.backbones.generative.connecting import LearnedConnector
    from acclimate.backbones.generative.conversation import Conversation
    from acclimate.backbones.generative.images import ImageTokens
    from acclimate.backbones.generative.loading import load_vlm
    from acclimate.backbones.generative.lowrank import LowRankAdapter
    from acclimate.backbones.generative.vlm import GenerativeVLM

__all__ = ["Conversation", "GenerativeVLM", "ImageTokens", "LearnedConnector", "LowRankAdapter", "load_vlm"]

_HOMES = {
    "Conversation": "conversation",
    "GenerativeVLM": "vlm",
    "ImageTokens": "images",
    "LearnedConnector": "connecting",
    "LowRankAdapter": "lowrank",
    "load_vlm": "loading",
}

__getattr__ = on_first_use(__name__, _HOMES)
