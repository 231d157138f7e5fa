from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.methods.dcpl import DCPLConfig
from acclimate.options import make_config
from tests.helpers.methods import FACTS, LONG, count, learn, make, on_vit_b_16, some, whole
from tests.helpers.plain_domain import compare, dcpl_logits, stir
from tests.helpers.tensors import close


@pytest.mark.one_family
@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "released"},
        {"variant": "corrected", "noise": "none", "feature_norm": True},
        {"variant": "corrected", "noise": "train", "noise_std": 0.2, "depth": 2},
        {"variant": "corrected", "feature_norm": False, "noise": "none", "depth": 1, "prompt_tokens": 1},
        {"variant": "released", "noise": "none", "meta_width": 5},
    ],
    ids=str,
)
def test_logits_loss_and_gradient_equal_the_loop(world, settings):
    method = stir(make(world, "dcpl", LONG, **settings))
    noise = None if method.config.noise == "none" else world.backbone.embed_dim
    for what, ours, theirs in compare(world, method, some(world.train), dcpl_logits, noise):
        close(ours, theirs, 1e-4)
        assert theirs.abs().max() > 1e-5, what


def test_released_numbers_on_vit_b_16():
    """MaPLe's 3,555,072 and two meta-nets of 33,312."""
    method = on_vit_b_16("dcpl", variant="released")
    assert method.learned_parameters() == 3_621_696
    assert count(*method.meta_net.parameters()) == count(*method.image_net.parameters()) == 33_312
    assert count(method.text, *method.couplings.parameters()) == 3_555_072
    assert on_vit_b_16("dcpl").learned_parameters() == on_vit_b_16("dcpl", variant="released").learned_parameters()


def test_number_of_learned_parameters(world):
    text, vision, joint = (getattr(world.backbone, name) for name in ("text_width", "vision_width", "embed_dim"))
    domain, hidden, depth = world.domain_encoder.width, 7, 3
    expected = depth * (2 * text + (text + 1) * vision) + 2 * (domain + 1) * hidden + (hidden + 1) * (text + joint)
    assert make(world, "dcpl", depth=depth, prompt_tokens=2, meta_width=hidden).learned_parameters() == expected


def test_gradients_reach_all_that_is_learned(world):
    for settings in ({"variant": "corrected"}, {"variant": "released"}):
        method = stir(make(world, "dcpl", **settings), 0.1)
        (stage,) = method.stages(FACTS)
        assert {id(parameter) for parameter in stage.parameters} == {id(parameter) for parameter in method.parameters()}
        assert list(method.learned_state()) == [name for name, _ in method.named_parameters()]
        method.loss(whole(world.train))["cross_entropy"].backward()
        assert all(parameter.grad.any() for parameter in method.parameters())
        assert method.text.grad.abs().flatten(1).amax(1).min() > 0


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["corrected", "released"])
def test_it_learns(world, variant):
    method = make(world, "dcpl", variant=variant, epochs=10, lr=0.01, warmup_epochs=0)
    before = {name: value.clone() for name, value in method.learned_state().items()}
    lines = learn(world, method, FACTS)
    assert lines[-1]["cross_entropy"] < 0.9 * lines[0]["cross_entropy"]
    assert all(not torch.equal(value, before[name]) for name, value in method.learned_state().items())


def test_corrected_image_directions_start_at_those_of_the_backbone(world):
    images, features = torch.randn(4, world.backbone.embed_dim), whole(world.test).domain_features[:4]
    method = make(world, "dcpl", variant="corrected", noise="none")
    close(method.image_directions_of(images, features), F.normalize(images, dim=-1))
    released = make(world, "dcpl", variant="released", noise="none")
    assert not torch.allclose(released.image_directions_of(images, features), F.normalize(images, dim=-1), atol=0.01)
    close(stir(method).image_directions_of(5 * images, features), method.image_directions_of(images, features))
    found = [released.image_directions_of(scale * images, features) for scale in (1, 5)]
    assert not torch.allclose(*found, atol=0.01)  # as released, a shift weighs less beside a longer feature


def test_without_biases_it_is_maple(world):
    maple = stir(make(world, "maple", LONG, depth=3), 0.1).eval()
    method = make(world, "dcpl", LONG, variant="corrected", noise="none", depth=3).eval()
    state = method.learned_state()
    state |= maple.learned_state()
    state |= {name: torch.zeros_like(value) for name, value in state.items() if "_net.2" in name}
    method.load_learned_state(state)
    with torch.no_grad():
        close(method.logits(whole(world.test)), maple.logits(whole(world.test)))


def test_at_depth_one_without_bias_the_text_is_zero_shot(world):
    method = make(world, "dcpl", LONG, depth=1)
    nothing = torch.zeros(2, world.backbone.text_width)
    (prompt,) = method.class_prompts(nothing, None)
    assert torch.equal(prompt, world.backbone.word_embeddings("a photo").expand_as(prompt))
    with torch.no_grad():
        found = F.normalize(world.backbone.encode_context(prompt, method.names, per="image"), dim=-1)
        close(found[1], make(world, "zero-shot", LONG).eval().class_weights())


def test_released_depends_on_its_batch_and_on_chance(world, monkeypatch):
    """As in the authors' code: noise on the image feature in prediction too, scaled by the batch's mean."""
    method = make(world, "dcpl", LONG, variant="released").eval()
    with torch.no_grad():
        batch = world.test.batch(torch.arange(4))
        assert not torch.equal(method.logits(batch), method.logits(batch))
        monkeypatch.setattr(torch, "randn_like", torch.ones_like)  # without chance, the scale remains
        alone = torch.cat([method.logits(world.test.batch(torch.tensor([index]))) for index in range(4)])
        assert (alone - method.logits(batch)).abs().max() > 1e-3


def test_released_settings():
    config = make_config(DCPLConfig, {"variant": "released"})
    assert (config.prompt_tokens, config.depth, config.context_init, config.meta_width) == (2, 9, "a photo of a", 32)
    assert (config.feature_norm, config.noise, config.noise_std) == (False, "always", None)
    assert (config.optimizer, config.lr, config.momentum, config.weight_decay) == ("sgd", 3.5e-3, 0.9, 5e-4)
    assert (config.batch_size, config.warmup_epochs, config.warmup_lr, config.crop_scale) == (4, 1, 1e-5, 0.08)
    assert on_vit_b_16("dcpl", variant="released").stages(FACTS)[0].epochs == 5
    assert make_config(DCPLConfig, vars(config)) == config
