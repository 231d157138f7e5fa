from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.training.feeds import FeatureFeed
from acclimate.training.stages import SolverStage
from tests.helpers.methods import CLASSES, FACTS, UNSEEN, learn, make, whole, zero_shot
from tests.helpers.plain_heads import loop_logits, text_features
from tests.helpers.tensors import close


def uneven(world, counts):
    """The same world with so many training images of each class."""
    batch = whole(world.train)
    index = torch.cat([torch.nonzero(batch.labels == label)[:count, 0] for label, count in enumerate(counts)])
    train = FeatureFeed(batch.image_features[index], batch.labels[index])
    return type(world)(**{**vars(world), "train": train})


def solved(world, counts, classes=CLASSES, **settings):
    small = uneven(world, counts)
    method = make(small, "ss-text", classes, **settings)
    learn(small, method, FACTS)
    return method, whole(small.train)


def loop_weights(world, batch, prior, strength):
    """The closed form, one image at a time, from sentences padded to the full length."""
    text = text_features(world, [f"a photo of a {name}." for name in CLASSES])
    scale, images = float(world.plain.logit_scale.exp()), len(batch.labels)
    rows = []
    for label in range(len(CLASSES)):
        own = [x / x.norm() for x, y in zip(batch.image_features, batch.labels, strict=True) if int(y) == label]
        row = text[label].clone()
        if own:
            weight = strength / (len(own) if prior == "class" else images)
            for x in own:
                row = row + scale / (images * weight) * x
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("counts", [(6, 6, 6), (5, 1, 3), (4, 0, 2)])
@pytest.mark.parametrize("prior", ["class", "shared"])
@pytest.mark.parametrize("strength", [1.0, 20.0])
def test_equals_the_closed_form_in_loops(world, counts, prior, strength):
    method, batch = solved(world, counts, prior=prior, strength=strength)
    weights = loop_weights(world, batch, prior, strength)
    test = whole(world.test)
    with torch.no_grad():
        close(method.logits(test), loop_logits(world, weights, test.image_features), 1e-4)


@pytest.mark.parametrize("prior", ["class", "shared"])
def test_it_is_the_minimum_of_its_objective(world, prior):
    method, batch = solved(world, (5, 1, 3), prior=prior, strength=2.0)
    weights = (method.text + method.images).clone().requires_grad_()
    counts, images = batch.labels.bincount(minlength=3), len(batch.labels)
    own = (F.normalize(batch.image_features, dim=-1) * weights[batch.labels]).sum(dim=-1)
    multipliers = 2.0 / (counts if prior == "class" else torch.tensor(float(images)))
    pull = (multipliers * (weights - method.text).square().sum(dim=-1)).sum() / 2
    objective = -world.backbone.logit_scale * own.sum() / images + pull
    (gradient,) = torch.autograd.grad(objective, weights)
    assert gradient.abs().max() < 1e-4


def test_much_text_is_zero_shot(world):
    method, _ = solved(world, (6, 6, 6), strength=1e9)
    with torch.no_grad():
        close(method.logits(whole(world.test)), zero_shot(world))
        close(make(world, "ss-text").eval().logits(whole(world.test)), zero_shot(world))  # not solved yet


def test_a_class_without_images_is_its_text(world):
    method, _ = solved(world, (4, 0, 2))
    with torch.no_grad():
        close(method.class_weights()[1], method.text[1])


def test_a_class_bound_later_is_one_without_images(world):
    counts = (4, 2, 0)
    listed, _ = solved(world, counts)
    later, _ = solved(world, counts, CLASSES[:2])
    later.bind(CLASSES)
    with torch.no_grad():
        close(later.logits(whole(world.test)), listed.logits(whole(world.test)))


@pytest.mark.parametrize("counts", [(6, 6, 6), (4, 0, 2)])
def test_repel_is_that_of_the_released_code(world, counts):
    method, batch = solved(world, counts, repel=True)
    weights = loop_weights(world, batch, "class", 1.0)
    centre, moved = sum(weights) / 3, []
    for row in weights:
        way = 2 * row - centre
        moved.append(row - way / way.norm())
    with torch.no_grad():
        close(F.normalize(method.text + method.images, dim=-1), F.normalize(torch.stack(moved), dim=-1), 1e-3)
        assert method.bind(UNSEEN) is None
        close(method.logits(whole(world.test)), zero_shot(world, UNSEEN))


def test_why_repel_is_off(world):
    """Where 2 w - mean w is shorter than 2, it reverses what tells the classes apart."""
    plain, _ = solved(world, (1, 1, 1), strength=100.0)
    repelled, _ = solved(world, (1, 1, 1), strength=100.0, repel=True)

    def apart(method):
        weights = method.text + method.images
        return weights - weights.mean(dim=0)

    assert (F.cosine_similarity(apart(plain), apart(repelled)) < 0).all()


def test_one_pass_and_no_gradient(world):
    method, batch = solved(world, (4, 0, 2))
    (stage,) = method.stages(FACTS)
    assert isinstance(stage, SolverStage)
    assert not list(method.parameters())
    assert list(method.learned_state()) == ["images"]
    assert method.learned_parameters() == 3 * world.backbone.embed_dim
    small = uneven(world, (4, 0, 2))
    assert learn(small, make(small, "ss-text"), FACTS) == [
        {"stage": "ss-text", "images": len(batch.labels), "classes_with_images": 2}
    ]


def test_text_needs_some_weight(world):
    with pytest.raises(ConfigError, match="strength=0"):
        make(world, "ss-text", strength=0.0)
