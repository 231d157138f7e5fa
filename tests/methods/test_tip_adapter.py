from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.methods.tip_adapter import TipAdapterFConfig
from acclimate.methods.tip_adapter.search import GRID, search
from acclimate.training.devices import make_accelerator
from acclimate.training.feeds import FeatureFeed
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal
from tests.helpers.methods import CLASSES, FACTS, UNSEEN, learn, make, stages_of, whole
from tests.helpers.plain_prompts import class_direction
from tests.helpers.tensors import close

FIGURES = ("alpha", "beta", "accuracy")
BOTH = pytest.mark.parametrize("name", ["tip-adapter", "tip-adapter-f"])


def filled(world, name="tip-adapter", val=None, **settings):
    """A fitted method; a fine-tuned one after two epochs."""
    settings = ({"epochs": 2} if name == "tip-adapter-f" else {}) | settings
    method = make(world, name, **settings)
    return method, learn(world, method, FACTS, val)


def plain_logits(world, method, features, cache, keys=None, classes=CLASSES):
    """Logits the plain way: loops over images and cached images, full-length text through transformers' own layers."""
    model, alpha, beta = world.plain, float(method.alpha), float(method.beta)
    words = [class_direction(world, sentence, None) for sentence in method.prompts.sentences(classes)]
    keys = F.normalize(cache.image_features, dim=-1) if keys is None else keys
    rows = []
    for x in F.normalize(features, dim=-1):
        row = [model.logit_scale.exp().squeeze() * (x @ word) for word in words]
        for key, label in zip(keys, cache.labels.tolist(), strict=True):
            if CLASSES[label] in classes:
                row[classes.index(CLASSES[label])] = row[classes.index(CLASSES[label])] + alpha * torch.exp(
                    -beta * (1.0 - key @ x)
                )
        rows.append(torch.stack(row))
    logits = torch.stack(rows)
    return logits + model.logit_bias if hasattr(model, "logit_bias") else logits


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 5.5), (20.0, 1.0)])
def test_logits_equal_the_equation(world, alpha, beta):
    method, _ = filled(world, search="fixed", alpha=alpha, beta=beta)
    batch = whole(world.test)
    expected = plain_logits(world, method, batch.image_features, whole(world.train))
    close(method.logits(batch), expected, 1e-4)
    assert (expected - make(world, "zero-shot").logits(batch)).abs().max() > 0.5


def test_loss_and_gradient_of_the_keys_equal_the_equation(world):
    method, _ = filled(world, "tip-adapter-f", search="fixed", alpha=3.0, beta=2.0)
    batch = whole(world.train)
    keys = method.keys.detach().clone().requires_grad_()
    expected = F.cross_entropy(plain_logits(world, method, batch.image_features, batch, keys), batch.labels)
    loss = method.loss(batch)["cross_entropy"]
    close(loss, expected, 1e-4)
    ours, theirs = torch.autograd.grad(loss, method.keys)[0], torch.autograd.grad(expected, keys)[0]
    close(ours, theirs, 1e-4)
    assert theirs.abs().max() > 1e-3


@BOTH
def test_an_empty_cache_or_no_weight_is_zero_shot(world, name):
    batch, expected = whole(world.test), make(world, "zero-shot").logits(whole(world.test))
    close(make(world, name).logits(batch), expected)
    method, _ = filled(world, name, search="fixed", alpha=0.0)
    close(method.logits(batch), expected)


@BOTH
def test_what_is_learned_and_saved(world, name):
    method, _ = filled(world, name)
    width = world.backbone.embed_dim
    shapes = {key: tuple(tensor.shape) for key, tensor in method.learned_state().items()}
    assert shapes == {"keys": (18, width), "labels": (18,), "alpha": (), "beta": ()}
    assert method.learned_parameters() == 18 * (width + 1) + 2
    learned = [tuple(parameter.shape) for parameter in method.parameters()]
    assert learned == ([(18, width)] if name == "tip-adapter-f" else [])  # N shots x C classes x E, as published


def test_the_cache_holds_the_directions_of_the_training_images(world):
    method, lines = filled(world)
    close(method.keys, F.normalize(whole(world.train).image_features, dim=-1))
    assert torch.equal(method.labels, whole(world.train).labels)
    assert lines == [{"stage": "tip-adapter", "rule": "leave-one-out", **{key: lines[0][key] for key in FIGURES}}]


def test_a_key_is_the_direction_of_the_mean_of_the_views(world):
    features, labels = whole(world.train).image_features, world.train.labels
    views = torch.stack([features + shift for shift in (0.5, -0.2, 3.0)])
    feed = FeatureFeed(features, labels, views=views)
    method = make(world, "tip-adapter", augment="crop", views=2)
    stages_of(method)[0].solve(feed, None)
    close(method.keys, F.normalize(features + 0.15, dim=-1))  # the first two of three
    method = make(world, "tip-adapter", views=2)
    stages_of(method)[0].solve(feed, None)
    close(method.keys, F.normalize(features, dim=-1))


def plain_search(queries, labels, text, keys, key_labels, classes, own=None):
    """The grid one pair, one query and one key at a time."""
    scores = {}
    for beta in GRID:
        for alpha in GRID:
            hits, loss = 0, 0.0
            for q, (x, y) in enumerate(zip(queries, labels.tolist(), strict=True)):
                row = text[q].double().tolist()
                for k, (key, label) in enumerate(zip(keys, key_labels.tolist(), strict=True)):
                    if own is None or own[q] != k:
                        lost = own is not None and label == y
                        count = int((key_labels == y).sum())
                        weight = count / (count - 1) if lost else 1.0
                        row[label] += alpha * weight * math.exp(-beta * (1.0 - float(x @ key)))
                logits = torch.tensor(row)
                hits += int(logits.argmax()) == y
                loss += float(logits.logsumexp(0) - logits[y])
            scores[alpha, beta] = (hits, loss)
    best = max(hits for hits, _ in scores.values())
    return min((loss, pair) for pair, (hits, loss) in scores.items() if hits == best)[1], best / len(labels)


@pytest.mark.parametrize("leave_out", [False, True])
def test_the_search_equals_loops_over_the_grid(monkeypatch, leave_out):
    monkeypatch.setattr("acclimate.methods.tip_adapter.search.GRID", GRID[::6])
    monkeypatch.setattr("acclimate.methods.tip_adapter.search.BUDGET", 40)  # several queries a pass, and a rest
    monkeypatch.setitem(globals(), "GRID", GRID[::6])
    random = torch.Generator().manual_seed(3)
    key_labels = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    keys = F.normalize(torch.randn(7, 5, generator=random) + F.one_hot(key_labels, 5), dim=-1)
    queries, labels, own = keys, key_labels, torch.arange(7)
    if not leave_out:
        labels, own = torch.tensor([0, 1, 2, 2, 1, 0, 0, 2]), None
        queries = F.normalize(torch.randn(8, 5, generator=random) + F.one_hot(labels, 5), dim=-1)
    text = torch.randn(len(queries), 3, generator=random)
    choice = search(queries, labels, text, keys, F.one_hot(key_labels, 3).float(), own=own)
    (alpha, beta), accuracy = plain_search(queries, labels, text, keys, key_labels, 3, own)
    assert (choice.alpha, choice.beta, choice.accuracy) == (alpha, beta, pytest.approx(accuracy))


def test_the_rule_follows_what_there_is(world):
    few = FeatureFeed(whole(world.train).image_features[[0, 6, 12]], torch.tensor([0, 1, 2]))

    def rule(train, val, **settings):
        return stages_of(make(world, "tip-adapter", **settings))[0].solve(train, val)

    assert rule(world.train, world.val)["rule"] == "validation"
    assert rule(world.train, None)["rule"] == "leave-one-out"
    assert rule(few, None) == {"rule": "fixed", "alpha": 1.0, "beta": 5.5}
    assert rule(few, world.val)["rule"] == "validation"
    assert rule(world.train, world.val, search="fixed", alpha=2.0) == {"rule": "fixed", "alpha": 2.0, "beta": 5.5}
    assert rule(world.train, world.val, search="leave-one-out") == rule(world.train, None)
    with pytest.raises(ConfigError, match="search=validation needs validation images"):
        rule(world.train, None, search="validation")
    with pytest.raises(ConfigError, match="two training images of some class"):
        rule(few, None, search="leave-one-out")


def test_classes_of_one_image_are_not_judged_by_leaving_it_out(world):
    method, features = make(world, "tip-adapter"), whole(world.train).image_features
    rows = torch.tensor([0, 1, 2, 6, 12])
    feed = FeatureFeed(features[rows], world.train.labels[rows])
    figures = stages_of(method)[0].solve(feed, None)
    judged = int((torch.bincount(feed.labels)[feed.labels] > 1).sum())
    assert figures["rule"] == "leave-one-out"
    assert 0 < judged < len(rows)
    assert figures["accuracy"] * judged == pytest.approx(round(figures["accuracy"] * judged))


@BOTH
def test_other_classes_keep_the_cache_of_those_known_by_name(world, name):
    method, _ = filled(world, name, search="fixed", alpha=5.0)
    batch, classes = whole(world.test), (UNSEEN[0], "river", "cat")
    keys = method.keys.detach()
    method.bind(classes)
    close(
        method.logits(batch), plain_logits(world, method, batch.image_features, whole(world.train), keys, classes), 1e-4
    )
    method.bind(UNSEEN)
    close(method.logits(batch), make(world, "zero-shot", UNSEEN).logits(batch))


def test_what_is_saved_after_binding_serves_the_classes_that_are_bound(world):
    method, _ = filled(world, search="fixed", alpha=5.0)
    classes, batch = ("river", UNSEEN[0]), whole(world.test)
    method.bind(classes)
    other = make(world, "tip-adapter")
    other.load_learned_state(method.learned_state())
    assert set(other.labels.tolist()) == {0, 1, 2}  # of the classes of training, whatever is bound
    other.bind(classes)
    close(other.logits(batch), method.logits(batch))


@BOTH
def test_a_cache_of_more_classes_is_refused(world, name):
    state = filled(world, name)[0].learned_state()
    other = make(world, name, CLASSES[:2])
    with pytest.raises(
        ConfigError,
        match=f"do not belong to this {name}: 18 keys and 18 labels that know 3 classes or more, and it is bound to 2",
    ):
        other.load_learned_state(state)
    wide = {**state, "keys": torch.zeros(18, 3)}
    with pytest.raises(ConfigError, match="do not belong"):
        make(world, name).load_learned_state(wide)


def test_fine_tuning_starts_from_the_cache_and_keeps_alpha_and_beta(world):
    training_free, (line,) = filled(world, val=world.val)
    method, lines = filled(world, "tip-adapter-f", val=world.val, epochs=5, lr=0.01)
    assert [entry["stage"] for entry in lines] == ["cache", *["keys"] * 5]
    assert {key: lines[0][key] for key in FIGURES} == {key: line[key] for key in FIGURES}
    assert (float(method.alpha), float(method.beta)) == (pytest.approx(line["alpha"]), pytest.approx(line["beta"]))
    assert not torch.allclose(method.keys, training_free.keys, atol=1e-3)
    still, _ = filled(world, "tip-adapter-f", val=world.val, lr=0.0)
    assert torch.equal(still.keys, training_free.keys)


def test_the_published_order(world):
    settings = {"search_when": "after", "alpha": 2.0, "beta": 3.0}
    method, lines = filled(world, "tip-adapter-f", val=world.val, **settings)
    assert [entry["stage"] for entry in lines] == ["cache", "keys", "keys", "search"]
    assert lines[-1]["rule"] == "validation"
    assert float(method.alpha) == pytest.approx(lines[-1]["alpha"])
    method, lines = filled(world, "tip-adapter-f", **settings)
    assert lines[-1] == {"stage": "search", "rule": "fixed", "alpha": 2.0, "beta": 3.0}
    with pytest.raises(ConfigError, match="no test of fine-tuned keys"):
        TipAdapterFConfig(search="leave-one-out", search_when="after")


def test_training_lowers_the_loss(world):
    _, lines = filled(world, "tip-adapter-f", epochs=20, lr=0.01, search="fixed", alpha=2.0, beta=2.0)
    assert lines[-1]["cross_entropy"] < lines[1]["cross_entropy"]


def test_the_optimiser_learns_the_keys_that_the_method_reads(world):
    method = make(world, "tip-adapter-f")
    stages = stages_of(method)
    (parameter,) = stages[1].parameters
    stages[0].solve(world.train, None)
    assert parameter is method.keys
    method.load_learned_state({name: tensor + 0 for name, tensor in method.learned_state().items()})
    assert parameter is method.keys  # a resumed run loads its checkpoint after the stages are listed


def test_an_interrupted_run_goes_on(world, tmp_path):
    from acclimate.training.checkpoint import CheckpointFile

    def run(path, stop=None):
        method = make(world, "tip-adapter-f", epochs=6, lr=0.01)
        context = FitContext(
            make_accelerator(torch.device("cpu")),
            journal=Journal(),
            checkpoints=CheckpointFile(path),
            checkpoint_seconds=0.0,
        )
        start, descent = stages_of(method)
        if stop is not None:
            steps = iter(range(stop))

            def failing(batch):
                next(steps)
                return method.loss(batch)

            descent = replace(descent, loss=failing)
        fit(method, [start, descent], world.train, None, context=context)
        return method.learned_state()

    whole_run = run(None)
    with pytest.raises(StopIteration):
        run(tmp_path / "state", stop=3)
    resumed = run(tmp_path / "state")
    assert all(torch.equal(resumed[name], whole_run[name]) for name in whole_run)


def test_published_recipe(world):
    config = get_method("tip-adapter-f").Config()
    stage = stages_of(make(world, "tip-adapter-f"))[1]
    assert stage.epochs == 20
    assert (config.optimizer, config.lr, config.epsilon, config.batch_size) == ("adamw", 1e-3, 1e-4, 256)
    assert (config.views, config.crop_scale, config.augment) == (10, 0.5, "none")
    assert (GRID[0], GRID[-1]) == (pytest.approx(0.1), pytest.approx(30.0))
    assert not hasattr(get_method("tip-adapter").Config(), "epochs")
