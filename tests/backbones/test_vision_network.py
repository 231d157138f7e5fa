"""A copy of a vision encoder that is trained, and is a domain encoder again."""

from __future__ import annotations

import pytest
import torch

from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.backbones.vision_network import VisionNetwork
from acclimate.errors import BackboneError
from tests.helpers.tensors import close
from tests.helpers.tiny_backbones import tiny_vision_text
from tests.helpers.tiny_domain_encoders import CASES

BLOCKS = {"dinov3_convnext": 8, "swin": 4, "swinv2": 4, "convnext": 7, "convnextv2": 7}  # and the joints between stages


@pytest.mark.parametrize(
    "name", [name if name in ("vit", "vit_mae") else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_trained_saved_and_read_again(name, tmp_path):
    CASES[name].save(tmp_path / "a")
    encoder = load_domain_encoder(tmp_path / "a")
    network, pixels = VisionNetwork(encoder).eval(), torch.randn(2, 3, *encoder.image_size)
    before = encoder.encode_image(pixels)
    close(network(pixels).detach(), before, 1e-5)
    depths, blocks = network.depths()
    learned = [(name, weight) for name, weight in network.model.named_parameters() if weight.requires_grad]
    assert (len(depths), blocks) == (len(learned), BLOCKS.get(name, 2))
    assert depths == sorted(depths)
    assert set(depths) <= {*range(blocks + 2)}
    network(pixels).sum().backward()
    assert not [name for name, weight in learned if weight.grad is None]
    assert {name for name, _ in network.model.named_parameters()} - {name for name, _ in learned} <= {
        "embeddings.mask_token"
    }
    with torch.no_grad():
        for _, weight in learned:
            weight.mul_(1.1)
    (tmp_path / "b").mkdir()
    network.save(tmp_path / "b", encoder.processor())
    again, here = load_domain_encoder(tmp_path / "b"), network.frozen("here")
    assert torch.equal(again.encode_image(pixels), here.encode_image(pixels))
    assert (again.identity, again.transform, again.width) == (here.identity, encoder.transform, encoder.width)
    assert torch.equal(encoder.encode_image(pixels), before)
    assert again.fingerprint != encoder.fingerprint


def test_an_image_tower_that_ends_in_a_pooler_is_not_copied(tmp_path):
    backbone = load_backbone(tiny_vision_text(tmp_path))
    with pytest.raises(BackboneError, match="ends in a pooler, which no encoder of the family vit has"):
        VisionNetwork(load_domain_encoder("self", backbone))


@pytest.mark.parametrize("family", ["clip", "siglip", "vit-bert-clip"])
def test_the_image_tower_of_a_backbone_before_its_projection(family, tiny_backbones, tmp_path):
    backbone = tiny_backbones[family]
    network = VisionNetwork(load_domain_encoder("self", backbone))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        close(network.eval()(pixels), backbone.encode_image(pixels, project=False), 1e-5)
    assert network.width == backbone.vision_width
    encoder = load_domain_encoder("self", backbone)
    network.save(tmp_path, encoder.processor())
    assert load_domain_encoder(tmp_path).transform == backbone.transform
