from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import CLIPModel, SiglipModel

from acclimate.backbones import load_backbone
from tests.helpers.tiny_backbones import tiny_clip, tiny_siglip

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
    "siglip": (tiny_siglip, {}),
    "siglip-other": (
        tiny_siglip,
        {
            "context_length": 20,
            "text": {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 6},
            "vision": {"num_hidden_layers": 4, "hidden_size": 48, "patch_size": 16, "num_attention_heads": 3},
        },
    ),
}
WORDS = ["cat", "bare land", "storage tanks of the large mill", "dog"]


@pytest.fixture(scope="session", params=VARIANTS)
def pair(request, tmp_path_factory):
    """A tiny backbone loaded by us, and the same folder loaded by transformers alone."""
    make, options = VARIANTS[request.param]
    return load_pair(make(tmp_path_factory.mktemp(request.param), **options))


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return load_pair(tiny_clip(tmp_path_factory.mktemp("clip")))


def load_pair(folder):
    backbone = load_backbone(folder)
    kind = CLIPModel if backbone.family == "clip" else SiglipModel
    plain = kind.from_pretrained(folder).eval().requires_grad_(False)
    return SimpleNamespace(backbone=backbone, plain=plain, folder=folder, names=backbone.class_tokens(WORDS))


def noise(*shape, seed=0, scale=1.0):
    """Reproducible normal numbers that want a gradient."""
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).requires_grad_()


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)
