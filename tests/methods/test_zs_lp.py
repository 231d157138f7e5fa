from __future__ import annotations

import math

import pytest
import torch

from acclimate.errors import ConfigError
from acclimate.prompts import PromptSet
from acclimate.training.stages import GradientStage, SolverStage
from tests.helpers.methods import CLASSES, FACTS, UNSEEN, learn, make, whole, without, zero_shot
from tests.helpers.plain_heads import loop_logits, loop_loss, text_features
from tests.helpers.tensors import close

LENGTHS = ["scale", "text", "unit"]
QUICK = {"epochs": 3, "warmup_epochs": 0}


@pytest.mark.parametrize("length", LENGTHS)
def test_starts_as_zero_shot(world, length):
    method = make(world, "zs-lp", initial_length=length).eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), zero_shot(world))


def test_starts_as_zero_shot_with_an_ensemble(world):
    method = make(world, "zs-lp", prompts=PromptSet("satellite"), ensemble=True).eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), zero_shot(world, prompts=PromptSet("satellite"), ensemble=True))


@pytest.mark.parametrize("name", ["zs-lp", "clap"])
def test_steps_of_size_zero_leave_zero_shot(world, name):
    method = make(world, name, epochs=2, lr=0.0, warmup_lr=0.0)
    learn(world, method, FACTS)
    with torch.no_grad():
        close(method.logits(whole(world.test)), zero_shot(world))


def test_length_of_the_first_weights(world):
    lengths = {length: make(world, "zs-lp", initial_length=length).weight.detach().norm(dim=-1) for length in LENGTHS}
    raw = world.backbone.encode_text([f"a photo of a {name}." for name in CLASSES]).norm(dim=-1)
    close(lengths["scale"], torch.full((3,), math.sqrt(world.backbone.logit_scale)), 1e-4)
    close(lengths["text"], raw, 1e-4)
    close(lengths["unit"], torch.ones(3))


def test_logits_loss_and_gradient_equal_loops(world):
    method = make(world, "zs-lp")
    start = text_features(world, [f"a photo of a {name}." for name in CLASSES]) * world.backbone.logit_scale**0.5
    close(method.weight.detach(), start, 1e-4)
    with torch.no_grad():
        method.weight += torch.randn_like(method.weight)
    batch = whole(world.train)
    weight = method.weight.detach().clone().requires_grad_()
    expected = loop_logits(world, weight, batch.image_features)
    close(method.logits(batch), expected, 1e-4)
    (loss,) = method.loss(batch).values()
    wanted = loop_loss(expected, batch.labels)
    close(loss, wanted, 1e-4)
    ours, theirs = torch.autograd.grad(loss, method.weight)[0], torch.autograd.grad(wanted, weight)[0]
    close(ours, theirs, 1e-4)
    assert theirs.abs().max() > 1e-3


def test_training_equals_plain_gradient_descent(world):
    method = make(world, "zs-lp", epochs=4)
    batch = whole(world.train)
    weight, speed = method.weight.detach().clone(), torch.zeros_like(method.weight)
    learn(world, method, FACTS)
    for epoch in range(4):  # one batch an epoch: 1e-5, then a cosine from 0.1; momentum 0.9, no weight decay
        lr = 1e-5 if epoch == 0 else 0.05 * (1 + math.cos(math.pi * (epoch - 1) / 4))
        weight.requires_grad_()
        (gradient,) = torch.autograd.grad(
            loop_loss(loop_logits(world, weight, batch.image_features), batch.labels), weight
        )
        speed = 0.9 * speed + gradient
        weight = weight.detach() - lr * speed
    close(method.weight.detach(), weight, 1e-3)
    assert (method.weight - make(world, "zs-lp").weight).abs().max() > 1e-2


def test_only_the_weights_are_learned(world):
    method = make(world, "zs-lp")
    look, descent = method.stages(FACTS)
    assert isinstance(look, SolverStage)
    assert isinstance(descent, GradientStage)
    assert [parameter is method.weight for parameter in descent.parameters] == [True]
    assert list(method.learned_state()) == ["weight"]
    assert method.learned_parameters() == 3 * world.backbone.embed_dim
    method.loss(whole(world.train))["cross_entropy"].backward()
    assert (method.weight.grad.abs().amax(dim=-1) > 0).all()


@pytest.mark.parametrize("name", ["zs-lp", "clap"])
@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "weight_decay": 0.1}])
def test_a_class_without_images_keeps_its_text_direction(world, name, settings):
    small = without(world, missing=1)
    method = make(small, name, **QUICK, **settings)
    lines = learn(small, method, FACTS)
    assert lines[0]["classes_with_images"] == 2
    with torch.no_grad():
        close(method.class_weights()[1], method.text[1])
        close(method.logits(whole(world.test))[:, 1], zero_shot(world)[:, 1])
        assert ((method.class_weights() - method.text)[[0, 2]].norm(dim=-1) > 1e-2).all()
        again = make(world, name, seed=5, **QUICK, **settings)
        again.load_learned_state(method.learned_state())
        assert torch.equal(again.eval().class_weights(), method.class_weights())


@pytest.mark.parametrize("name", ["zs-lp", "clap", "ss-text"])
def test_old_and_new_classes_together(world, name):
    method = make(world, name, **(QUICK if name != "ss-text" else {}))
    learn(world, method, FACTS)
    batch = whole(world.test)
    mixture = (UNSEEN[0], "river", UNSEEN[1], "cat")
    with torch.no_grad():
        before = method.logits(batch)
        method.bind(mixture)
        mixed = method.logits(batch)
        close(mixed[:, [3, 1]], before[:, [0, 2]])
        close(mixed[:, [0, 2]], zero_shot(world, UNSEEN))
        method.bind(UNSEEN)
        close(method.logits(batch), zero_shot(world, UNSEEN))
        method.bind(CLASSES)
        assert torch.equal(method.logits(batch), before)


@pytest.mark.one_family
def test_learns(world):
    method = make(world, "zs-lp", epochs=40)
    lines = learn(world, method, FACTS)
    assert lines[-1]["cross_entropy"] < 0.5 * lines[1]["cross_entropy"]


def test_published_recipe(world):
    for name in ("zs-lp", "clap"):
        stage = make(world, name).stages(FACTS)[1]
        recipe = stage.recipe
        assert (stage.epochs, recipe.batch_size, recipe.lr, recipe.weight_decay) == (300, 256, 0.1, 0.0)
        assert (recipe.optimizer, recipe.momentum, recipe.warmup_epochs, recipe.warmup_lr) == ("sgd", 0.9, 1, 1e-5)
        assert make(world, name, epochs=7).stages(FACTS)[1].epochs == 7


def test_unknown_length(world):
    with pytest.raises(ConfigError, match="initial_length='long' is not one of scale, text, unit"):
        make(world, "zs-lp", initial_length="long")
