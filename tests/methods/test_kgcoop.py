from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.methods import TrainingFacts
from acclimate.prompts import PromptSet
from tests.helpers.methods import CLASSES, UNSEEN, make, whole
from tests.helpers.tensors import close

NATURAL = PromptSet("natural", template="a photo of a {}.")


def test_guidance_is_the_mean_distance_to_the_template(world):
    method = make(world, "kgcoop", prompts=NATURAL, context_init="none", context_tokens=4, guidance=3.0)
    terms = method.loss(whole(world.train))
    learned = F.normalize(method.class_directions().detach(), dim=-1)
    template = F.normalize(world.backbone.encode_text([f"a photo of a {name}." for name in CLASSES]), dim=-1)
    by_hand = sum(1 - float(learned[row] @ template[row]) for row in range(3)) / 3
    assert float(terms["guidance"].detach()) == pytest.approx(3.0 * by_hand, rel=1e-4)
    squared = (learned - template).square().sum(-1).mean()  # the distance of the paper's equation
    close(terms["guidance"], 1.5 * squared, 1e-4)


def test_the_rest_of_the_loss_is_that_of_coop(world):
    settings = {"context_init": "none", "context_tokens": 4}
    ours, plain = make(world, "kgcoop", seed=1, **settings), make(world, "coop", seed=1, **settings)
    batch = whole(world.train)
    close(ours.loss(batch)["cross_entropy"], plain.loss(batch)["cross_entropy"])


def test_guidance_vanishes_where_context_and_template_agree(world):
    method = make(world, "kgcoop", prompts=NATURAL)
    assert float(method.loss(whole(world.train))["guidance"].detach()) == pytest.approx(0.0, abs=1e-4)


def test_guidance_pulls(world):
    method = make(world, "kgcoop", prompts=NATURAL, context_init="none", context_tokens=4)
    terms = method.loss(whole(world.train))
    (gradient,) = torch.autograd.grad(terms["guidance"], method.context)
    with torch.no_grad():
        method.context -= 1e-3 * gradient / gradient.norm()
    assert method.loss(whole(world.train))["guidance"] < terms["guidance"]


def test_anchors_follow_the_classes_and_are_not_saved(world):
    method = make(world, "kgcoop")
    assert list(method.learned_state()) == ["context"]
    assert method.anchors.shape == (3, world.backbone.embed_dim)
    method.bind(UNSEEN)
    assert method.anchors.shape == (2, world.backbone.embed_dim)
    assert not method.anchors.requires_grad


def test_epochs_and_batches(world):
    (stage,) = make(world, "kgcoop").stages(TrainingFacts(9, 1))
    assert stage.epochs == 100
    assert stage.recipe.batch_size == 128
