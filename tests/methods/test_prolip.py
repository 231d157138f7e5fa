from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts, get_method
from acclimate.methods.prolip import ProLIPConfig
from tests.helpers.methods import CLASSES, FACTS, learn, make, stages_of, whole
from tests.helpers.plain_prompts import class_direction
from tests.helpers.tensors import close


def plain_loss(world, method, batch, projection, strength):
    """Logits and loss the plain way, with W itself in place of its change, one image and one entry at a time."""
    model = world.plain
    start = model.visual_projection.weight if hasattr(model, "visual_projection") else torch.eye(len(projection))
    classes = [class_direction(world, sentence, None) for sentence in method.prompts.sentences(CLASSES)]
    rows = []
    for pooled in batch.pooled_features:
        x = projection @ pooled
        rows.append(model.logit_scale.exp() * torch.stack([F.cosine_similarity(x, w, dim=0) for w in classes]))
    logits = torch.stack(rows)
    logits = logits + model.logit_bias if hasattr(model, "logit_bias") else logits
    distance = sum((row - row0).square().sum() for row, row0 in zip(projection, start, strict=True))
    return logits, F.cross_entropy(logits, batch.labels) + strength * distance


def test_loss_and_gradient_equal_the_equation(world):
    method, batch = make(world, "prolip", regularisation=0.3), whole(world.train)
    with torch.no_grad():
        method.change.copy_(0.1 * torch.randn(method.change.shape, generator=torch.Generator().manual_seed(1)))
    projection = (world.backbone.vision_projection + method.change).detach().requires_grad_()
    logits, expected = plain_loss(world, method, batch, projection, 0.3)
    close(method.logits(batch), logits, 1e-4)
    loss = sum(method.loss(batch).values())
    close(loss, expected, 1e-4)
    ours, theirs = torch.autograd.grad(loss, method.change)[0], torch.autograd.grad(expected, projection)[0]
    close(ours, theirs, 1e-4)
    assert theirs.abs().max() > 1e-3


def test_it_starts_as_zero_shot(world):
    batch = whole(world.test)
    close(make(world, "prolip").logits(batch), make(world, "zero-shot").logits(batch))


def test_only_the_change_of_the_projection_is_learned(world):
    method, backbone = make(world, "prolip"), world.backbone
    assert {name: tuple(tensor.shape) for name, tensor in method.learned_state().items()} == {
        "change": (backbone.embed_dim, backbone.vision_width)  # 512 x 768 = 393,216 in ViT-B/16
    }
    assert method.learned_parameters() == backbone.embed_dim * backbone.vision_width
    (stage,) = stages_of(method)
    assert [id(parameter) for parameter in stage.parameters] == [id(method.change)]


def test_the_strength_is_one_over_the_shots(world):
    def strength(shots, **settings):
        method = make(world, "prolip", **settings)
        method.prepare(TrainingFacts(images=9, shots=shots))
        with torch.no_grad():
            method.change[0, 0] = 2.0
        return float(method.loss(whole(world.train))["regularisation"].detach()) / 4.0

    assert strength(1) == pytest.approx(1.0)
    assert strength(16) == pytest.approx(1 / 16)
    assert strength(16, regularisation=0.5) == pytest.approx(0.5)
    assert strength(16, regularisation=0.0) == 0.0


def test_published_recipe(world):
    config = get_method("prolip").Config()
    (stage,) = stages_of(make(world, "prolip"))
    assert (stage.epochs, stage.recipe.batch_size) == (300, FACTS.images)
    assert (config.optimizer, config.lr, config.weight_decay, config.epsilon) == ("adamw", 1e-5, 0.0, 1e-4)
    assert stage.recipe.learning_rate(0, 300) == pytest.approx(1e-5)
    assert stage.recipe.learning_rate(150, 300) == pytest.approx(0.5e-5)
    (stage,) = stages_of(make(world, "prolip", batch_size=4, epochs=2))
    assert (stage.epochs, stage.recipe.batch_size) == (2, 4)


@pytest.mark.one_family
def test_a_strong_pull_holds_the_projection(world):
    def distance(pull):
        method = make(world, "prolip", epochs=30, lr=0.01, regularisation=pull)
        learn(world, method, FACTS)
        return float(method.change.square().sum().detach())

    free, held, fast = (distance(pull) for pull in (0.0, 1.0, 1000.0))
    assert free > 2 * held > 20 * fast


@pytest.mark.one_family
def test_training_lowers_the_loss(world):
    method, batch = make(world, "prolip", epochs=30, lr=0.01), whole(world.train)
    before = float(method.loss(batch)["cross_entropy"].detach())
    lines = learn(world, method, FACTS)
    assert float(method.loss(batch)["cross_entropy"].detach()) < 0.9 * before
    assert {"cross_entropy", "regularisation"} <= lines[-1].keys()


def test_settings_out_of_range():
    with pytest.raises(ConfigError, match="regularisation"):
        ProLIPConfig(regularisation=-1.0)
