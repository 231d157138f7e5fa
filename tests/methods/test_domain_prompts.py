"""What GDPL, DPLQ and DCPL have in common: batches, noise, classes, towers and the domain encoder."""

from __future__ import annotations

import logging

import pytest
import torch

from acclimate.errors import ConfigError
from acclimate.training.batch import Batch
from tests.helpers.methods import LONG, UNSEEN, make, some, whole, without_domain_encoder
from tests.helpers.plain_domain import stir
from tests.helpers.tensors import close

NAMES = ("gdpl", "dplq", "dcpl")
pytestmark = pytest.mark.parametrize("name", NAMES)


def batch_of(world, *images):
    """Images whose domain features have very different means."""
    batch = world.test.batch(torch.tensor(images))
    return Batch(domain_features=batch.domain_features + torch.tensor(images)[:, None]) | batch


def alone(method, world):
    return torch.cat([method.logits(batch_of(world, image)) for image in range(4)])


@pytest.mark.parametrize("training", [False, True])
def test_an_image_does_not_depend_on_its_batch(world, name, training):
    method = stir(make(world, name, LONG, variant="corrected", noise="none"), 0.1).train(training)
    with torch.no_grad():
        together = method.logits(batch_of(world, 0, 1, 2, 3))
        close(alone(method, world), together, 1e-4)
        close(method.logits(batch_of(world, 3, 0)), together[[3, 0]], 1e-4)
        assert torch.equal(method.logits(batch_of(world, 0, 1, 2, 3)), together)


def test_corrected_predicts_the_same_for_an_image_always(world, name):
    method = stir(make(world, name, LONG, variant="corrected"), 0.1).eval()
    with torch.no_grad():
        together = method.logits(batch_of(world, 0, 1, 2, 3))
        assert torch.equal(method.logits(batch_of(world, 0, 1, 2, 3)), together)
        close(alone(method, world), together, 1e-4)


def test_released_depends_on_chance_and_on_the_batch(world, name, monkeypatch):
    """As the authors' code: noise in prediction too, as large as the mean feature of the batch."""
    method = make(world, name, LONG, variant="released").eval()
    batch = batch_of(world, 0, 1, 2, 3)
    with torch.no_grad():
        assert not torch.equal(method.logits(batch), method.logits(batch))
        monkeypatch.setattr(torch, "randn_like", torch.ones_like)  # without chance, the scale remains
        assert (alone(method, world) - method.logits(batch)).abs().max() > 1e-3
        fixed = make(world, name, LONG, variant="released", noise_std=0.3).eval()
        close(alone(fixed, world), fixed.logits(batch), 1e-4)


@pytest.mark.parametrize(("noise", "noisy"), [("none", ()), ("train", (True,)), ("always", (True, False))])
def test_when_there_is_noise(world, name, noise, noisy):
    method = stir(make(world, name, LONG, noise=noise, noise_std=0.5), 0.1)
    batch = some(world.test)
    for training in (True, False):
        method.train(training)
        with torch.no_grad():
            assert torch.equal(method.logits(batch), method.logits(batch)) == (training not in noisy)


def test_size_of_the_noise(world, name):
    source = 3 + torch.randn(400, 5)
    for std, expected in ((0.25, 0.25), (None, float(source.mean()))):
        method = make(world, name, noise="always", noise_std=std)
        added = method.noisy(torch.ones(400, 50), source) - 1
        assert float(added.std()) == pytest.approx(expected, rel=0.03)
        assert abs(float(added.mean())) < 0.03 * expected


def test_feature_norm_takes_size_and_mean_away(world, name):
    batch = some(world.test)
    other = Batch(domain_features=5 * batch.domain_features + 2) | batch
    for norm in (True, False):
        method = stir(make(world, name, noise="none", feature_norm=norm)).eval()
        with torch.no_grad():
            assert torch.allclose(method.logits(batch), method.logits(other), atol=1e-3) == norm


def test_the_domain_encoder_matters(world, name):
    """Other features, other logits; a corrected method that has learned nothing may as yet not heed them."""
    method = stir(make(world, name, noise="none")).eval()
    batch = some(world.test)
    other = Batch(domain_features=batch.domain_features.flip(0)) | batch
    with torch.no_grad():
        assert (method.logits(batch) - method.logits(other)).abs().max() > 1e-3


def test_unseen_classes_get_the_same_prompts(world, name):
    method = stir(make(world, name, noise="none"), 0.1).eval()
    with torch.no_grad():
        method.logits(whole(world.test))
        method.bind(UNSEEN)
        fresh = make(world, name, UNSEEN, seed=5, noise="none")
        fresh.load_learned_state(method.learned_state())
        close(method.logits(whole(world.test)), fresh.eval().logits(whole(world.test)))


def test_a_published_depth_is_cut_to_the_towers(world, name, caplog):
    with caplog.at_level(logging.INFO, "acclimate.methods"):
        assert len(make(world, name, depth=9).text) == 3
    for tower in ("text", "vision"):
        assert f"{name}: depth=9 is cut to the 3 layers of the {tower} tower" in caplog.messages


@pytest.mark.parametrize("variant", ["corrected", "released"])
def test_no_domain_encoder(world, name, variant):
    with pytest.raises(ConfigError, match=f"{name} reads the features of a domain encoder") as caught:
        make(without_domain_encoder(world)[0], name, variant=variant)
    assert "give `domain_encoder`: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_image_directions_are_those_that_the_classes_are_compared_with(world, name, monkeypatch):
    method, batch, seen = stir(make(world, name, LONG), 0.1).eval(), batch_of(world, 0, 1, 2), []
    cosines = method._cosines
    monkeypatch.setattr(method, "_cosines", lambda images, *rest: seen.append(images) or cosines(images, *rest))
    with torch.no_grad():
        method.logits(batch)
        directions = method.image_directions(batch)
    assert torch.equal(directions, seen[0])
    frozen = torch.nn.functional.normalize(batch.image_features, dim=-1)
    assert (directions - frozen).abs().max() > 1e-3
