"""Families of generative vision-language models that are supported, by the `model_type` of their config.json."""

from __future__ import annotations

from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.generative.families.llava import LlavaFamily

VLM_FAMILIES: dict[str, type[VLMFamily]] = {family.name: family for family in (LlavaFamily,)}

__all__ = ["VLM_FAMILIES", "VLMFamily"]
