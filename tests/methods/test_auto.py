"""Auto: parts, weights and probabilities of the ensemble, against its parts taken one by one."""

from __future__ import annotations

import math

import pytest
import torch

from acclimate.methods import TrainingFacts
from acclimate.methods.parts import folds
from acclimate.methods.parts.ensembles import fuse, select, temperature
from acclimate.training.feeds import RepeatedFeed
from tests.helpers.methods import FACTS, descend, learn, make, stages_of, whole, without_domain_encoder

pytestmark = pytest.mark.one_family


@pytest.fixture(scope="module")
def fitted(world):
    method = make(world, "auto")
    return method, learn(world, method, FACTS)


def parts_of(method):
    return dict(method.parts.items())


def test_probabilities_are_the_weighted_mean_of_the_parts(world, fitted):
    method, (line,) = fitted
    batch = whole(world.test)
    with torch.no_grad():
        logits = {name: part.logits(batch).double() for name, part in parts_of(method).items()}
        mean = sum(
            weight * (logits[name] / float(own)).softmax(-1)
            for name, weight, own in zip(logits, method.weights.double(), method.temperatures, strict=True)
        )
        expected = (mean.log() / float(method.temperature)).softmax(-1)
        torch.testing.assert_close(method.logits(batch).double().softmax(-1), expected, atol=1e-5, rtol=1e-4)
    assert line["weights"] == dict(zip(logits, method.weights.tolist(), strict=True))
    assert math.isclose(sum(line["weights"].values()), 1.0, abs_tol=1e-6)
    assert line["log_loss"].keys() == {*logits, "auto"}


@pytest.mark.slow
def test_weights_come_from_images_that_the_parts_have_not_learned_from(world, fitted):
    """Out of fold by hand: every part learned again without each fold, weighed by what it says of that fold."""
    method, _ = fitted
    labels = world.train.labels
    fold = folds.deal(labels)
    scores = []
    for name, part in parts_of(method).items():
        own = torch.zeros(len(labels), 3, dtype=torch.float64)
        for number in range(5):
            rest, rows = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
            again = make(world, part.name, **vars(part.settled()))
            for stage in again.stages(FACTS):
                stage.solve(RepeatedFeed(world.train, rest), None)
            with torch.no_grad():
                own[rows] = again.logits(world.train.batch(rows)).double()
        warm = temperature(own.log_softmax(-1), labels)
        assert method.temperatures[list(parts_of(method)).index(name)] == pytest.approx(warm, rel=1e-6)
        scores.append((own / warm).log_softmax(-1))
    first = [one.first for one in method.candidates.values()]
    torch.testing.assert_close(method.weights, select(torch.stack(scores), labels, first).float())
    mixed = fuse(torch.stack(scores), method.weights.double()) / method.temperature
    again = make(world, "auto")
    descend(again, stages_of(again), world.train)
    torch.testing.assert_close(again.held_out, mixed.softmax(-1).float(), atol=1e-6, rtol=1e-5)
    again.end_training()
    assert again.held_out is None
    assert again.learned_state().keys() == method.learned_state().keys()


@pytest.mark.slow
def test_groups_stay_together(world):
    method = make(world, "auto")
    groups = tuple((world.train.labels * 2 + torch.arange(18) % 2).tolist())  # two groups a class
    (line,) = learn(world, method, TrainingFacts(images=18, shots=6, groups=groups))
    assert line["folds"] == 2


def test_folds_are_domains_where_others_are_to_come(world, monkeypatch):
    """Each part says what it thinks of a domain without having learned from it, and the text counts from the start."""
    method, seen = make(world, "auto", leave_out="domains"), []
    plain = folds.left_out

    def watch(learn_from, say, train, fold):
        seen.append(fold)
        return plain(learn_from, say, train, fold)

    monkeypatch.setattr(folds, "left_out", watch)
    places = tuple((torch.arange(18) % 3).tolist())
    (line,) = learn(world, method, TrainingFacts(images=18, shots=6, domains=3, places=places))
    assert line["folds"] == 3
    assert all(fold.tolist() == list(places) for fold in seen)
    assert min(line["weights"][name] for name in ("kernel-ridge", "kernel-ridge-text")) > 0.3


def test_one_domain_leaves_nothing_out(world, caplog):
    (line,) = learn(world, make(world, "auto", leave_out="domains"), TrainingFacts(images=18, shots=6))
    assert line["folds"] == 1
    assert "of one domain or none" in caplog.text


def test_few_images_have_the_text_where_others_are_to_come(world, monkeypatch):
    """Three images that it tells apart are too few to be believed, but where their domain says little itself."""
    rows = torch.tensor([int((world.train.labels == label).nonzero()[0]) for label in range(3)])
    own = type(world)(**{**vars(world), "train": RepeatedFeed(world.train, rows)})
    facts = TrainingFacts(images=3, shots=1, domains=3, labels=(0, 1, 2), places=(0, 1, 2))
    for leave_out, used in (("images", 1), ("domains", 2)):
        method = make(world, "auto", leave_out=leave_out)
        monkeypatch.setattr(method.parts["kernel-ridge-text"], "base", lambda b: torch.eye(3)[b.labels] * 0.7 + 0.1)
        (line,) = learn(own, method, facts)
        assert sum(weight > 0 for weight in line["weights"].values()) == used


@pytest.mark.parametrize("helpful", [True, False])
def test_one_image_a_class_reads_the_text_where_it_tells(world, helpful, monkeypatch):
    method = make(world, "auto")
    groups = tuple(world.train.labels.tolist())  # one group a class
    sure = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.1, 0.7]]).roll(0 if helpful else 1, 0)
    monkeypatch.setattr(method.parts["kernel-ridge-text"], "base", lambda batch: sure[batch.labels])
    (line,) = learn(world, method, TrainingFacts(images=18, shots=6, groups=groups))
    assert line["folds"] == 1
    assert "log_loss" not in line
    used = {"kernel-ridge", "kernel-ridge-text"} if helpful else {"kernel-ridge"}
    assert {name for name, weight in line["weights"].items() if weight} == used
    assert method.held_out is None


@pytest.mark.slow
def test_without_a_domain_encoder_nothing_reads_one(world):
    bare, batch = without_domain_encoder(world)
    method = make(bare, "auto")
    assert not method.inputs.domain_encoder
    learn(bare, method, FACTS)
    assert method.logits(batch).shape == (len(batch), 3)
    assert "domain-linear-probe" not in method.parts
    assert "domain-linear-probe" in make(world, "auto").parts


@pytest.mark.slow
def test_learns_the_same_twice(world, fitted):
    other = make(world, "auto", seed=5)
    learn(world, other, FACTS)
    for name, tensor in fitted[0].learned_state().items():
        assert torch.equal(tensor, other.learned_state()[name]), name


def test_one_image_a_class(world):
    method = make(world, "auto")
    rows = torch.tensor([int((world.train.labels == label).nonzero()[0]) for label in range(3)])
    own = type(world)(**{**vars(world), "train": RepeatedFeed(world.train, rows)})
    (line,) = learn(own, method, TrainingFacts(images=3, shots=1))
    assert [name for name, weight in line["weights"].items() if weight] == ["kernel-ridge"]
    assert torch.equal(method.logits(whole(own.train)).argmax(-1), own.train.labels)
