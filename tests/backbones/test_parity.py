"""Features equal those of transformers' own forward for every family and configuration."""

from __future__ import annotations

import logging

import pytest
import torch

from tests.helpers import plain
from tests.helpers.tensors import close

TEXTS = ["a photo of a cat.", "dog", "a satellite image of the bare land, small", "a large storage tank"]


def plain_text(pair, texts, project=True):
    length = pair.backbone.context_length
    tokens = pair.backbone.tokenizer.tokenizer(
        texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    if project:
        return pair.plain.get_text_features(tokens["input_ids"]).pooler_output
    return plain.pooled_text(pair.plain, tokens["input_ids"])


def test_text(pair):
    close(pair.backbone.encode_text(TEXTS), plain_text(pair, TEXTS))
    close(pair.backbone.encode_text(TEXTS[:1]), plain_text(pair, TEXTS[:1]))


def test_text_in_small_batches(pair):
    close(pair.backbone.encode_text(TEXTS * 3, max_tokens=11), plain_text(pair, TEXTS * 3))


def test_many_texts_keep_their_order(pair):
    texts = [f"{'small ' * (i % 5)}cat" for i in range(1100)]
    features = pair.backbone.encode_text(texts)
    close(features, plain_text(pair, texts[:5]).repeat(220, 1))


def test_text_from_ids(pair):
    close(pair.backbone.encode_text(pair.backbone.tokenize(TEXTS)), plain_text(pair, TEXTS))


def test_texts_of_one_length_and_the_same_text_twice(pair):
    texts = ["a cat", "a dog", "a dog"]
    close(pair.backbone.encode_text(texts), plain_text(pair, texts))


def test_text_before_projection(pair):
    pooled = pair.backbone.encode_text(TEXTS, project=False)
    assert pooled.shape == (4, pair.backbone.text_width)
    if pair.backbone.family != "siglip":
        close(pooled, plain_text(pair, TEXTS, project=False))
    else:
        close(pair.plain.text_model.head(pooled), plain_text(pair, TEXTS))


def test_image(pair):
    size = pair.backbone.image_size
    pixels = torch.randn(3, 3, size, size)
    close(pair.backbone.encode_image(pixels), pair.plain.get_image_features(pixels).pooler_output)
    pooled = plain.pooled_image(pair.plain, pixels)
    close(pair.backbone.encode_image(pixels, project=False), pooled)


def test_logits(pair):
    size = pair.backbone.image_size
    pixels, ids = torch.randn(2, 3, size, size), pair.backbone.tokenize(TEXTS)
    image = torch.nn.functional.normalize(pair.backbone.encode_image(pixels), dim=-1)
    text = torch.nn.functional.normalize(pair.backbone.encode_text(ids), dim=-1)
    logits = pair.backbone.scaled(image @ text.T)
    close(logits, pair.plain(input_ids=ids, pixel_values=pixels).logits_per_image, 1e-4)


def test_trimming(pair):
    length = pair.backbone.tokenize(["dog"]).shape[1]
    assert length == (pair.backbone.context_length if pair.backbone.family == "siglip" else 3)


def test_too_long_text_keeps_eos_and_says_so_once(pair, caplog):
    text = "storage tanks " * 30
    pair.backbone.tokenizer._said = False
    with caplog.at_level(logging.WARNING, "acclimate.backbones"):
        ids = pair.backbone.tokenize([text, "dog"])
        pair.backbone.tokenize([text])
    assert ids.shape == (2, pair.backbone.context_length)
    assert ids[0, -1] == pair.backbone.tokenizer.eos
    assert [record.getMessage().count("cut to") for record in caplog.records] == [1]
    close(pair.backbone.encode_text([text, "dog"]), plain_text(pair, [text, "dog"]))


def test_no_texts(pair):
    assert pair.backbone.encode_text([]).shape == (0, pair.backbone.embed_dim)


def test_weights_are_frozen(pair):
    assert not pair.backbone.encode_text(TEXTS).requires_grad
    size = pair.backbone.image_size
    assert not pair.backbone.encode_image(torch.randn(1, 3, size, size)).requires_grad


def test_wrong_pixels_are_refused(pair):
    with pytest.raises(Exception, match="takes pixels of shape"):
        pair.backbone.encode_image(torch.zeros(1, 3, 7, 7))


def test_moves_between_devices(pair):
    assert pair.backbone.to("cpu") is pair.backbone
    assert pair.backbone.device.type == "cpu"
