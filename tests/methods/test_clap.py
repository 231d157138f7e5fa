from __future__ import annotations

import pytest
import torch

from tests.helpers.methods import FACTS, learn, make, whole, without
from tests.helpers.plain_heads import loop_logits, loop_loss
from tests.helpers.tensors import close

QUICK = {"epochs": 3, "warmup_epochs": 0}


def look(world, method):
    """Run the first stage alone."""
    return method.stages(FACTS)[0].solve(world.train, None)


def loop_multipliers(world, text, batch):
    """The mean probability of each class on its own images, one image at a time; 0 without images."""
    found = torch.zeros(len(text))
    for label in range(len(text)):
        own = [x for x, y in zip(batch.image_features, batch.labels, strict=True) if int(y) == label]
        for row in loop_logits(world, text, own) if own else ():
            found[label] += float(torch.exp(row[label] - row.max()) / torch.exp(row - row.max()).sum()) / len(own)
    return found


@pytest.mark.parametrize("missing", [None, 1])
def test_multipliers_are_mean_probabilities(world, missing):
    small = world if missing is None else without(world, missing)
    method = make(small, "clap")
    figures = look(small, method)
    expected = loop_multipliers(small, method.text, whole(small.train))
    close(method.multipliers, expected, 1e-4)
    if missing is not None:
        assert method.multipliers[missing] == 0
    assert figures["mean_multiplier"] == pytest.approx(float(expected[expected > 0].mean()), abs=1e-4)


@pytest.mark.parametrize("missing", [None, 1])
def test_loss_and_gradient_equal_loops(world, missing):
    small = world if missing is None else without(world, missing)
    method = make(small, "clap", constraint=2.0)
    look(small, method)
    rows = [row for row in range(3) if row != missing]
    with torch.no_grad():
        method.weight[rows] += 0.3 * torch.randn(len(rows), world.backbone.embed_dim)
    batch = whole(small.train)
    weight = method.weight.detach().clone().requires_grad_()
    start = method.text * world.backbone.logit_scale**0.5
    full = torch.stack([weight[row] if row != missing else start[row] for row in range(3)])
    entropy = loop_loss(loop_logits(world, full, batch.image_features), batch.labels)
    multipliers = loop_multipliers(small, method.text, batch)
    constraint = 0.0
    for row in rows:
        constraint = constraint + 2.0 * multipliers[row] * sum((weight[row] - start[row]) ** 2) / 3
    terms = method.loss(batch)
    close(terms["cross_entropy"], entropy, 1e-4)
    close(terms["constraint"], constraint, 1e-4)
    ours = torch.autograd.grad(sum(terms.values()), method.weight)[0]
    theirs = torch.autograd.grad(entropy + constraint, weight)[0]
    close(ours, theirs, 1e-4)


def test_without_constraint_it_is_zs_lp(world):
    ours, plain = make(world, "clap", constraint=0.0, **QUICK), make(world, "zs-lp", **QUICK)
    batch = whole(world.train)
    assert sum(ours.loss(batch).values()) == sum(plain.loss(batch).values())
    learn(world, ours, FACTS)
    learn(world, plain, FACTS)
    close(ours.weight, plain.weight, 1e-4)


def test_the_start_costs_nothing(world):
    method = make(world, "clap")
    look(world, method)
    assert float(method.loss(whole(world.train))["constraint"].detach()) == 0.0


@pytest.mark.one_family
def test_the_constraint_holds_the_weights(world):
    def moved(constraint):
        method = make(world, "clap", constraint=constraint, epochs=20)
        learn(world, method, FACTS)
        return float((method.weight - method.anchors).detach().norm())

    assert moved(8.0) < 0.7 * moved(0.5)


def test_what_is_learned(world):
    method = make(world, "clap")
    (_, descent) = method.stages(FACTS)
    assert [parameter is method.weight for parameter in descent.parameters] == [True]
    assert method.weight.numel() == 3 * world.backbone.embed_dim
    assert sorted(method.learned_state()) == ["multipliers", "weight"]  # a killed run goes on with its multipliers
    lines = learn(world, make(world, "clap", **QUICK), FACTS)
    assert [line["stage"] for line in lines] == ["clap: classes", "clap", "clap", "clap"]
