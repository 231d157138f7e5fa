"""Tiny backbones of many shapes, each beside its weights in transformers."""

from __future__ import annotations

from types import SimpleNamespace

from acclimate.backbones import load_backbone
from acclimate.backbones.families import FAMILIES, VisionTextFamily
from tests.helpers.plain import PlainVisionText
from tests.helpers.tiny_backbones import tiny_clip, tiny_metaclip2, tiny_siglip, tiny_vision_text, tiny_vit_bert

VARIANTS = {
    "clip": (tiny_clip, {}),
    "clip-gelu-legacy": (
        tiny_clip,
        {
            "legacy_eos": True,
            "context_length": 77,  # as in OpenAI's checkpoints
            "projection": 32,
            "text": {"hidden_act": "gelu", "num_attention_heads": 2, "num_hidden_layers": 4},
            "vision": {"hidden_act": "gelu", "patch_size": 16, "num_hidden_layers": 2},
        },
    ),
    "clip-one-layer": (
        tiny_clip,
        {
            "context_length": 40,
            "text": {"num_hidden_layers": 1, "hidden_size": 24, "num_attention_heads": 3},
            "vision": {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 8},
        },
    ),
    "metaclip_2": (tiny_metaclip2, {}),
    "siglip": (tiny_siglip, {}),
    "siglip-other": (
        tiny_siglip,
        {
            "context_length": 20,
            "text": {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 6},
            "vision": {"num_hidden_layers": 4, "hidden_size": 48, "patch_size": 16, "num_attention_heads": 3},
        },
    ),
    "vision-text": (tiny_vision_text, {}),
    "roberta-clip": (
        tiny_vision_text,
        {
            "text": {"model_type": "roberta", "max_position_embeddings": 26, "num_hidden_layers": 2},
            "vision": {"model_type": "clip_vision_model", "hidden_act": "quick_gelu"},
        },
    ),
    "vit-bert": (tiny_vit_bert, {}),
    "vit-bert-linear": (tiny_vit_bert, {"inner": None, "context_length": 24}),
}
WORDS = ["cat", "bare land", "storage tanks of the large mill", "dog"]


def load_pair(folder):
    backbone = load_backbone(folder)
    plain = FAMILIES[backbone.family].model_class().from_pretrained(folder).eval().requires_grad_(False)
    towers = FAMILIES[backbone.family](plain)  # our runners over the layers of transformers
    return SimpleNamespace(
        backbone=backbone,
        plain=PlainVisionText(plain) if isinstance(towers, VisionTextFamily) else plain,
        towers=towers,
        folder=folder,
        names=backbone.class_tokens(WORDS),
    )
