"""The embedded backbone loads through the ordinary loader and equals transformers' own forward."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

import acclimate.backbones
from acclimate.backbones import load_backbone

FOLDER = Path(acclimate.backbones.__file__).parent / "mini_clip"
TEXTS = ["a photo of a cat.", "a satellite image of bare land.", "dog", "two dogs that run along a river " * 9]


@pytest.fixture(scope="module")
def mini():
    return load_backbone("mini-clip")


@pytest.fixture(scope="module")
def plain():
    return CLIPModel.from_pretrained(FOLDER, dtype=torch.float32).eval()


def test_features_equal_transformers(mini, plain):
    tokens = AutoTokenizer.from_pretrained(FOLDER)(
        TEXTS, padding="max_length", max_length=32, truncation=True, return_tensors="pt"
    )
    pixels = torch.randn(3, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            mini.encode_text(TEXTS), plain.get_text_features(**tokens).pooler_output, atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            mini.encode_image(pixels), plain.get_image_features(pixels).pooler_output, atol=1e-5, rtol=0
        )


def test_words_in_place_of_context_give_the_sentence(mini):
    names = mini.class_tokens(["cat", "bare land", "storage tanks"])
    whole = mini.encode_text([f"a photo of a {words}." for words in names.words])
    torch.testing.assert_close(
        mini.encode_context(mini.word_embeddings("a photo of a"), names), whole, atol=1e-5, rtol=0
    )


def test_facts(mini):
    assert (mini.name, mini.family, mini.embed_dim, mini.text_width, mini.vision_width) == (
        "mini-clip", "clip", 256, 192, 256,
    )  # fmt: skip
    assert (mini.text_layers, mini.vision_layers, mini.context_length, mini.image_size) == (6, 6, 32, 96)
    assert mini.causal_text
    assert mini.logit_bias == 0.0
    assert mini.logit_scale == pytest.approx(20.046, abs=1e-3)
    assert mini.fingerprint == "572e8569a8bc5883d5b90e7e6136f78d"
    assert mini.describe()["parameters"] == 8915969
    assert mini.transform.output_size == (96, 96)
