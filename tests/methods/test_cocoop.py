from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts, get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from tests.helpers import plain
from tests.helpers.methods import CLASSES, LONG, UNSEEN, learn, make, text_runs, whole
from tests.helpers.tensors import close

WIDE = {"reduction": 2}  # a tiny tower's joint space divided by 16 leaves one hidden unit, which may be dead


def by_hand(world, method, batch, weights):
    """Logits and loss image by image, class by class at full length through transformers' own layers."""
    backbone, model = world.backbone, world.plain
    names = backbone.class_tokens(list(method.class_names))
    bias = model.logit_bias if hasattr(model, "logit_bias") else 0.0
    rows, losses = [], []
    for feature, label in zip(batch.image_features, batch.labels, strict=True):
        image = feature / feature.norm()
        hidden = (weights["meta_net.0.weight"] @ image + weights["meta_net.0.bias"]).clamp(min=0)
        token = weights["meta_net.2.weight"] @ hidden + weights["meta_net.2.bias"]
        context = torch.stack([vector + token for vector in weights["context"]])
        sequences, pool, _ = plain.context_sequences(
            backbone, model, context.expand(len(names), -1, -1), names, position="end"
        )
        assert sequences.shape[1] == backbone.context_length
        row = []
        for sequence, end in zip(sequences, pool, strict=True):
            text = plain.text_features(model, sequence[None], end[None])[0]
            row.append((model.logit_scale.exp() * (image @ text) / text.norm() + bias).squeeze())
        logits = torch.stack(row)
        rows.append(logits)
        losses.append(logits.logsumexp(0) - logits[label])
    return torch.stack(rows), torch.stack(losses).mean()


@pytest.mark.one_family
@pytest.mark.parametrize("settings", [{}, {"checkpoint": True}, {"context_init": None, "context_tokens": 3}])
def test_logits_loss_and_gradient_equal_the_loop_over_images(world, settings):
    method = make(world, "cocoop", LONG, seed=2, **WIDE, **settings)
    batch = whole(world.train)
    weights = {name: tensor.detach().clone().requires_grad_() for name, tensor in method.named_parameters()}
    logits, expected = by_hand(world, method, batch, weights)
    loss = method.loss(batch)["cross_entropy"]
    close(method.logits(batch), logits)
    close(loss, expected)
    ours = torch.autograd.grad(loss, list(method.parameters()))
    theirs = torch.autograd.grad(expected, list(weights.values()))
    for mine, yours in zip(ours, theirs, strict=True):
        close(mine, yours, 1e-4)
        assert yours.abs().max() > 1e-5


def test_gradients_reach_context_and_meta_net_and_nothing_else(world):
    method = make(world, "cocoop", seed=2, **WIDE)
    (stage,) = method.stages(TrainingFacts(9, 3))
    method.loss(whole(world.train))["cross_entropy"].backward()
    assert [name for name, _ in method.named_parameters()] == list(method.learned_state())
    assert len(stage.parameters) == 5
    assert all(parameter.grad.abs().max() > 0 for parameter in stage.parameters)
    assert all(parameter.grad is None for parameter in world.backbone.model.parameters())


def formula(context, joint, text, reduction=16):
    hidden = joint // reduction
    return context * text + (joint + 1) * hidden + (hidden + 1) * text


def test_number_of_learned_parameters(world):
    sizes = world.backbone.embed_dim, world.backbone.text_width
    assert make(world, "cocoop").learned_parameters() == formula(4, *sizes)
    assert make(world, "cocoop", reduction=4).learned_parameters() == formula(4, *sizes, reduction=4)
    random = make(world, "cocoop", context_init="none", context_tokens=7)
    assert random.learned_parameters() == formula(7, *sizes)
    assert make(world, "cocoop", reduction=1000).meta_net[0].out_features == 1  # never none


def test_number_of_learned_parameters_on_a_large_backbone():
    """ViT-B/16: the 4 x 512 of the context, and a meta-net of 512 -> 32 -> 512."""
    kind = get_method("cocoop")
    backbone = SimpleNamespace(
        kind="dual",
        name="ViT-B/16",
        embed_dim=512,
        text_width=512,
        device=torch.device("cpu"),
        class_tokens=tuple,
        word_embeddings=lambda words: torch.zeros(len(words.split()), 512),
    )
    method = kind(backbone, make_config(kind.Config, {}), PromptSet("natural"))
    method.bind(CLASSES)
    assert method.learned_parameters() == formula(4, 512, 512) == 2048 + 33312


@pytest.mark.parametrize("classes", [CLASSES, LONG])
def test_a_meta_net_that_starts_at_zero_is_zero_shot(world, classes):
    method = make(world, "cocoop", classes, zero_init=True).eval()
    expected = make(world, "zero-shot", classes, PromptSet("natural", template="a photo of a {}.")).eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), expected.logits(whole(world.test)))


@pytest.mark.one_family
def test_a_meta_net_that_starts_at_zero_still_learns(world):
    method = make(world, "cocoop", zero_init=True, epochs=2, warmup_epochs=0, **WIDE)
    first = method.meta_net[0].weight.detach().clone()
    learn(world, method, TrainingFacts(9, 3))
    assert method.meta_net[2].weight.abs().max() > 0
    assert not torch.allclose(method.meta_net[0].weight, first)


def test_with_a_silent_meta_net_it_is_coop(world):
    ours = make(world, "cocoop", zero_init=True, context_init="none", context_tokens=5, seed=3)
    coop = make(world, "coop", context_tokens=5, seed=3)
    close(ours.loss(whole(world.train))["cross_entropy"], coop.loss(whole(world.train))["cross_entropy"])


def test_every_image_has_directions_of_its_own(world):
    method = make(world, "cocoop", seed=2, **WIDE)
    coop = make(world, "coop", context_init="a photo of a")
    with torch.no_grad():
        ours, shared = method.logits(whole(world.test)), coop.logits(whole(world.test))
    shifts = (ours - shared).mean(dim=1)
    assert float(shifts.std()) > 1e-3


def test_the_scale_of_a_feature_changes_nothing(world):
    method = make(world, "cocoop", seed=2, **WIDE)
    features = world.test.batch(torch.arange(4)).image_features
    with torch.no_grad():
        close(method.logits(Batch(image_features=7.0 * features)), method.logits(Batch(image_features=features)))


def test_no_images_and_one_image(world):
    method = make(world, "cocoop")
    features = world.test.batch(torch.arange(1)).image_features
    assert method.logits(Batch(image_features=features)).shape == (1, 3)
    assert method.logits(Batch(image_features=features[:0])).shape == (0, 3)


@pytest.mark.parametrize("images", [1, 9])
def test_images_never_run_through_the_text_tower_one_by_one(world, images):
    method = make(world, "cocoop")
    batch = world.train.batch(torch.arange(images))
    runs, stop = text_runs(world)
    method.loss(batch)["cross_entropy"].backward()
    stop()
    assert len(runs) == 1


def test_published_recipe(world):
    for shots in (1, 4, 16):
        (stage,) = make(world, "cocoop").stages(TrainingFacts(9, shots))
        assert (stage.epochs, stage.recipe.batch_size, stage.recipe.lr) == (10, 1, 0.002)
        assert [stage.recipe.learning_rate(epoch, 10) for epoch in (0, 1)] == [1e-5, 0.002]
    assert make(world, "cocoop", epochs=3).stages(TrainingFacts(9, 3))[0].epochs == 3
    assert isinstance(make(world, "cocoop").meta_net[1], nn.ReLU)


@pytest.mark.parametrize("settings", [{"reduction": 0}, {"context_tokens": 0}, {"class_specific": True}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        make_config(get_method("cocoop").Config, settings)


@pytest.mark.one_family
def test_it_learns_and_serves_other_classes(world):
    method = make(world, "cocoop", seed=2, epochs=20, optimizer="adamw", lr=0.02, batch_size=6, **WIDE)
    batch = whole(world.train)
    with torch.no_grad():
        before = F.cross_entropy(method.logits(batch), batch.labels)
    learn(world, method, TrainingFacts(18, 6))
    with torch.no_grad():
        after = F.cross_entropy(method.logits(batch), batch.labels)
        method.bind(UNSEEN)
        assert method.logits(batch).shape == (len(batch), len(UNSEEN))
    assert after < 0.9 * before
