"""Families of generative vision-language models that are supported, by the `model_type` of their config.json."""

from __future__ import annotations

from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.generative.families.gemma import Gemma3Family, PaliGemmaFamily
from acclimate.backbones.generative.families.idefics import Idefics3Family, SmolVLMFamily
from acclimate.backbones.generative.families.internvl import InternVLFamily
from acclimate.backbones.generative.families.llava import LlavaFamily
from acclimate.backbones.generative.families.llava_next import LlavaNextFamily, LlavaOnevisionFamily
from acclimate.backbones.generative.families.qwen import Qwen3VLFamily, Qwen25VLFamily

_ALL: tuple[type[VLMFamily], ...] = (
    LlavaFamily,
    LlavaNextFamily,
    LlavaOnevisionFamily,
    InternVLFamily,
    Idefics3Family,
    SmolVLMFamily,
    PaliGemmaFamily,
    Gemma3Family,
    Qwen25VLFamily,
    Qwen3VLFamily,
)
VLM_FAMILIES: dict[str, type[VLMFamily]] = {family.name: family for family in _ALL}

__all__ = ["VLM_FAMILIES", "VLMFamily"]
