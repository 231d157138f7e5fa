"""A copy of a generative model's connector: what it gives at first, for which families, and what stays as it was."""

from __future__ import annotations

import copy

import pytest
import torch

from acclimate.backbones.generative.families.llava import LlavaFamily
from acclimate.errors import BackboneError

PACKED = {"llava_next", "llava_onevision", "qwen2_5_vl", "qwen3_vl"}  # which do more behind the connector


def test_a_copy_gives_what_the_connector_gives(pair):
    vlm = pair.vlm
    if vlm.family in PACKED:
        assert "vision_tokens" not in vlm.widths
        with pytest.raises(BackboneError, match=rf"^the connector of .* \({vlm.family}\) cannot be learned[^\n]*$"):
            vlm.learned_connector()
        return
    before = {name: tensor.clone() for name, tensor in vlm.model.state_dict().items()}
    found = vlm.encode(pair.pixels(3), {"image_tokens", "vision_tokens"})
    connector = vlm.learned_connector()
    tokens = connector(found["vision_tokens"])
    assert tokens.shape == (3, vlm.image_tokens, vlm.token_width)
    assert torch.equal(tokens.flatten(1), found["image_tokens"])
    tokens.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in connector.parameters())
    with torch.no_grad():
        for parameter in connector.parameters():
            parameter.add_(0.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vlm.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in vlm.model.parameters())
    moved, same = connector(found["vision_tokens"]), copy.deepcopy(connector)(found["vision_tokens"])
    assert torch.equal(moved, same)
    assert not torch.allclose(moved, tokens)


def test_a_release_that_does_more_behind_the_connector_is_noticed(llava, monkeypatch):
    plain = LlavaFamily._features
    monkeypatch.setattr(LlavaFamily, "_features", lambda self, pixels: plain(self, pixels) / 32**0.5)
    with pytest.raises(BackboneError, match="cannot be learned by itself"):
        llava.vlm.learned_connector()
