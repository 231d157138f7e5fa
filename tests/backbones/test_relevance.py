"""Relevance of patches, against a plain computation on the models of transformers with eager attention."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModel, VisionTextDualEncoderModel, ViTModel

from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.backbones.recording import Pass, recording
from acclimate.backbones.relevance import patch_relevance
from tests.helpers.attention import rolled_out
from tests.helpers.tiny_backbones import tiny_vision_text
from tests.helpers.tiny_domain_encoders import CASES

DIRECTION = 7  # seed of what features are compared with


def direction(width):
    return torch.randn(width, generator=torch.Generator().manual_seed(DIRECTION))


def pixels(size, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def recorded(encode, goal):
    """The relevance of the only pass, and what was encoded."""
    with recording() as passes:
        features = encode()
    (seen,) = passes
    assert seen.complete
    gradients = torch.autograd.grad(goal(features), seen.weights)
    return patch_relevance(seen, gradients), features.detach()


def test_clip_as_a_plain_computation_has_it(tiny_folders, tiny):
    model = AutoModel.from_pretrained(tiny_folders["clip"], attn_implementation="eager").eval()
    goal = direction(tiny.embed_dim)
    said = model.vision_model(pixels(32), output_attentions=True)
    features = model.visual_projection(said.pooler_output)
    gradients = torch.autograd.grad((F.normalize(features, dim=-1) @ goal).sum(), said.attentions)
    plain = rolled_out([one.detach() for one in said.attentions], gradients)[:, 0, 1:].view(2, 4, 4)
    found, own = recorded(lambda: tiny.encode_image(pixels(32)), lambda x: (F.normalize(x, dim=-1) @ goal).sum())
    torch.testing.assert_close(own, features.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    assert found.max() > 0


def test_a_vit_as_a_plain_computation_has_it(tmp_path):
    folder = tiny_vision_text(tmp_path)
    model = VisionTextDualEncoderModel.from_pretrained(folder, attn_implementation="eager").eval()
    backbone = load_backbone(folder)
    goal, said = direction(backbone.embed_dim), model.vision_model(pixels(32), output_attentions=True)
    features = model.visual_projection(said.pooler_output)
    gradients = torch.autograd.grad((features @ goal).sum(), said.attentions)
    plain = rolled_out([one.detach() for one in said.attentions], gradients)[:, 0, 1:].view(2, 4, 4)
    found, own = recorded(lambda: backbone.encode_image(pixels(32)), lambda x: (x @ goal).sum())
    torch.testing.assert_close(own, features.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


def pooled_by_hand(head, x):
    """What SigLIP's head makes of tokens (B, L, D), and the weights of its attention."""
    attention, (count, _, width) = head.attention, x.shape
    q, k, v = (
        F.linear(part, weight, bias).view(count, -1, attention.num_heads, width // attention.num_heads).transpose(1, 2)
        for part, weight, bias in zip(
            (head.probe.expand(count, -1, -1), x, x),
            attention.in_proj_weight.chunk(3),
            attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    y = attention.out_proj((weights @ v).transpose(1, 2).reshape(count, 1, width))
    return (y + head.mlp(head.layernorm(y)))[:, 0], weights


def test_siglip_as_a_plain_computation_has_it(tiny_folders, tiny_backbones):
    model = AutoModel.from_pretrained(tiny_folders["siglip"], attn_implementation="eager").eval()
    tower, goal = model.vision_model, direction(tiny_backbones["siglip"].embed_dim)
    said = tower(pixels(32), output_attentions=True)
    features, pooling = pooled_by_hand(tower.head, said.last_hidden_state)
    torch.testing.assert_close(features, said.pooler_output, atol=1e-5, rtol=1e-5)
    *gradients, last = torch.autograd.grad((features @ goal).sum(), [*said.attentions, pooling])
    gathered = rolled_out([one.detach() for one in said.attentions], gradients)
    plain = ((pooling.detach() * last).clamp(min=0).mean(1) @ gathered)[:, 0].view(2, 4, 4)
    found, own = recorded(lambda: tiny_backbones["siglip"].encode_image(pixels(32)), lambda x: (x @ goal).sum())
    torch.testing.assert_close(own, features.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


def plain_domain_encoder(encoder):
    """Features and attention of a copy of its model, with eager attention; of a masked autoencoder, of a plain ViT."""
    kind, model = encoder.copy_model()
    if kind == "vit_mae":
        plain = ViTModel(model.config, add_pooling_layer=False).eval()
        plain.load_state_dict(model.state_dict())
        model = plain
    model.requires_grad_(True).set_attn_implementation("eager")
    said = model(pixels(32), output_attentions=True)
    read = {"cls": lambda: said.last_hidden_state[:, 0], "patch-mean": lambda: said.last_hidden_state[:, 1:].mean(1)}
    return read.get(encoder.pooling, lambda: said.pooler_output)(), said.attentions


@pytest.mark.parametrize(
    "name", ["vit", "vit_mae", "dinov2", "dinov2_with_registers", "dinov3_vit", "clip_vision_model"]
)
def test_domain_encoders_as_a_plain_computation_has_them(name, tmp_path):
    CASES[name].save(tmp_path)
    encoder, goal = load_domain_encoder(tmp_path), direction(24)
    features, attentions = plain_domain_encoder(encoder)
    gradients = torch.autograd.grad((features @ goal).sum(), attentions)
    plain = rolled_out([one.detach() for one in attentions], gradients)
    rows = (plain - torch.eye(plain.shape[-1]))[:, -16:].mean(1) if name == "vit_mae" else plain[:, 0]
    found, own = recorded(lambda: encoder.encode_image(pixels(32)), lambda x: (x @ goal).sum())
    torch.testing.assert_close(own, features.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, rows[:, -16:].view(2, 4, 4), atol=1e-5, rtol=1e-5)
    assert found.max() > 0


@pytest.mark.parametrize("name", ["convnext", "swin", "beit", "sam_vision_model"])
def test_other_domain_encoders_have_no_relevance(name, tmp_path):
    CASES[name].save(tmp_path)
    encoder = load_domain_encoder(tmp_path)
    with recording() as passes:
        encoder.encode_image(pixels(32))
    assert [one.complete for one in passes] == [False]


def test_what_prompts_have_gathered_is_lost_where_others_are_written_over_them():
    """The prompt (token 2) reads patch 0 in the first layer, and the first token reads the prompt in the second."""
    first = torch.zeros(1, 1, 3, 3)
    first[..., 2, 1] = 1
    second = torch.zeros(1, 1, 1, 3)
    second[..., 0, 2] = 1
    weights = [first, second]
    plain = Pass(None, (1, 1), 1, "first", 2, weights=weights)
    deep = Pass(None, (1, 1), 1, "first", 2, overwritten={1: range(2, 3)}, weights=weights)
    gradients = [torch.ones_like(one) for one in weights]
    assert patch_relevance(plain, gradients).tolist() == [[[1.0]]]
    assert patch_relevance(deep, gradients).tolist() == [[[0.0]]]


def test_deep_prompts_are_no_part_of_the_map(tiny):
    prompts = [torch.randn(5, tiny.vision_width, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    with recording() as passes:
        features = tiny.encode_image(pixels(32), prompts)
    (seen,) = passes
    assert [one.shape[-1] for one in seen.weights] == [1 + 16 + 5] * 3
    assert {layer: [*rows] for layer, rows in seen.overwritten.items()} == {1: [*range(17, 22)], 2: [*range(17, 22)]}
    found = patch_relevance(seen, torch.autograd.grad(features.sum(), seen.weights))
    assert found.shape == (2, 4, 4)
    torch.testing.assert_close(features.detach(), tiny.encode_image(pixels(32), prompts), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_nothing_is_recorded_or_differentiated_outside(tiny_backbones, family):
    backbone = tiny_backbones[family]
    with recording() as passes:
        pass
    assert not backbone.encode(pixels(32), {"image_features"})["image_features"].requires_grad
    assert passes == []
