"""Families of dual encoders: the only modules that know how Hugging Face names the parts of a model."""

from __future__ import annotations

from acclimate.backbones.families.base import Family
from acclimate.backbones.families.clip import ClipFamily
from acclimate.backbones.families.metaclip2 import MetaClip2Family
from acclimate.backbones.families.siglip import SiglipFamily
from acclimate.backbones.families.vision_text import VisionTextFamily, VitBertFamily

FAMILIES: dict[str, type[Family]] = {
    family.name: family for family in (ClipFamily, SiglipFamily, MetaClip2Family, VisionTextFamily, VitBertFamily)
}

__all__ = ["FAMILIES", "ClipFamily", "Family", "MetaClip2Family", "SiglipFamily", "VisionTextFamily", "VitBertFamily"]
