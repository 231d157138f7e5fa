"""The protocol of image encoders, held by a dual encoder, a domain encoder and a masked autoencoder."""

from __future__ import annotations

import pytest
import torch

from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.errors import BackboneError
from tests.helpers.tiny_backbones import tiny_clip, tiny_siglip, tiny_vision_text
from tests.helpers.tiny_domain_encoders import CASES

WIDTHS = {
    "clip": {"image_features": 24, "pooled_features": 48},
    "siglip": {"image_features": 32, "pooled_features": 32},
    "vision-text": {"image_features": 24, "pooled_features": 48},
    "domain": {"domain_features": 24, "domain_tokens": 16 * 24},
    "mae": {"domain_features": 192, "domain_tokens": 16 * 192},
}


def make(name, folder):
    if name == "mae":
        return MaskedAutoencoder("tiny", 32, 8)
    if name == "domain":
        CASES["dinov2"].save(folder)
        return load_domain_encoder(folder)
    return load_backbone({"clip": tiny_clip, "siglip": tiny_siglip, "vision-text": tiny_vision_text}[name](folder))


@pytest.fixture(scope="module", params=WIDTHS)
def case(request, tmp_path_factory):
    """Name and encoder."""
    return request.param, make(request.param, tmp_path_factory.mktemp("encoder") / "model")


def pixels(count=3, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_facts(case):
    name, encoder = case
    assert encoder.widths == WIDTHS[name]
    assert encoder.name
    assert encoder.transform.output_size == (32, 32)
    assert len(encoder.fingerprint) == 32
    assert encoder.device == torch.device("cpu")


def test_every_kind_alone_and_all_together(case):
    _, encoder = case
    together = encoder.encode(pixels().requires_grad_(), list(encoder.widths))
    assert set(together) == set(encoder.widths)
    for kind, width in encoder.widths.items():
        (alone,) = encoder.encode(pixels(), {kind}).items()
        assert alone[0] == kind
        assert alone[1].shape == together[kind].shape == (3, width)
        assert not together[kind].requires_grad
        torch.testing.assert_close(alone[1], together[kind], atol=1e-6, rtol=1e-5)
        assert (alone[1][0] - alone[1][1]).abs().max() > 0.01  # it depends on the image
    assert encoder.encode(pixels(), ()) == {}


def test_what_an_encoder_does_not_give_is_refused(case):
    _, encoder = case
    with pytest.raises(BackboneError, match=f"gives no 'depth'; ask for {' or '.join(encoder.widths)}$"):
        encoder.encode(pixels(), [*encoder.widths, "depth"])
    with pytest.raises(BackboneError, match=r"\(B, 3, 32, 32\)"):
        encoder.encode(pixels(side=24), encoder.widths)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_a_dual_encoder_gives_what_encode_image_does(name, tmp_path):
    backbone = make(name, tmp_path)
    whole, pooled = backbone.encode_image(pixels()), backbone.encode_image(pixels(), project=False)
    assert torch.equal(backbone.encode(pixels(), ["image_features"])["image_features"], whole)
    both = backbone.encode(pixels(), ["image_features", "pooled_features"])
    assert torch.equal(both["pooled_features"], pooled)
    assert torch.equal(both["image_features"], pooled @ backbone.vision_projection.T)


def test_a_domain_encoder_gives_what_encode_image_does(tmp_path):
    encoder = make("domain", tmp_path / "model")
    expected = encoder.encode_image(pixels())
    assert torch.equal(encoder.encode(pixels(), ["domain_features"])["domain_features"], expected)


def test_a_masked_autoencoder_gives_what_its_saved_encoder_does(tmp_path):
    model = MaskedAutoencoder("tiny", 32, 8, mask_ratio=0.5, seed=3).train()
    before = model.fingerprint
    features = model.encode(pixels(), ["domain_features"])["domain_features"]
    assert model.training
    assert model.model.config.mask_ratio == 0.5
    model.save(tmp_path)
    saved = load_domain_encoder(tmp_path)
    torch.testing.assert_close(saved.encode_image(pixels()), features, atol=1e-5, rtol=0)
    assert saved.fingerprint == model.fingerprint == before
    model.model.vit.layernorm.weight.data += 1.0
    assert model.fingerprint != before  # that of the present weights
