from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch

from acclimate.errors import ConfigError, TrainingError
from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.feeds import FeatureFeed, RepeatedFeed, epoch_order
from acclimate.training.fit import fit
from acclimate.training.journal import Journal
from acclimate.training.stages import GradientStage, SolverStage
from tests.helpers.learner import Linear, blobs, context, recipe


def learn(accelerator, *recipes, train=None, val=None, **settings):
    learner, journal = Linear(), Journal()
    train = train or blobs()
    where = context(accelerator, journal=journal, **settings)
    fit(learner, learner.stages(*recipes), train, val, context=where, score=learner.accuracy)
    return learner, journal.lines


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_learns_what_can_be_separated(accelerator, optimizer):
    train = blobs()
    assert Linear().accuracy(train) < 0.9
    learner, lines = learn(accelerator, recipe(epochs=40, optimizer=optimizer), train=train)
    assert learner.accuracy(train) == 1.0
    assert lines[-1]["cross_entropy"] < 0.2 * lines[0]["cross_entropy"]


def test_journal_has_one_entry_an_epoch(accelerator):
    settings = recipe(epochs=4)
    _, lines = learn(accelerator, settings)
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert [line["lr"] for line in lines] == [settings.learning_rate(epoch, 4) for epoch in range(4)]
    assert all(set(line) == {"stage", "epoch", "lr", "cross_entropy", "size"} for line in lines)
    json.dumps(lines)


def test_every_image_once_an_epoch_in_an_order_of_its_own(accelerator):
    learner, _ = learn(accelerator, recipe(epochs=2))
    first, second = learner.seen[:30], learner.seen[30:]
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second


def test_one_seed_one_result(accelerator):
    torch.manual_seed(1)
    one, lines = learn(accelerator, recipe(), seed=5)
    torch.manual_seed(2)
    same, same_lines = learn(accelerator, recipe(), seed=5)
    other, _ = learn(accelerator, recipe(), seed=6)
    assert torch.equal(one.weight, same.weight)
    assert lines == same_lines
    assert not torch.equal(one.weight, other.weight)


def test_order_depends_on_the_seed_alone():
    torch.testing.assert_close(epoch_order(50, 1, "coop", 3), epoch_order(50, 1, "coop", 3))
    assert not torch.equal(epoch_order(50, 1, "coop", 3), epoch_order(50, 1, "coop", 4))
    assert not torch.equal(epoch_order(50, 1, "coop", 3), epoch_order(50, 2, "coop", 3))


def test_a_step_is_that_of_plain_sgd(accelerator):
    """One epoch in one batch with momentum and decay, against the update written out."""
    learner = Linear()
    settings = recipe(epochs=2, batch_size=30, lr=0.1, warmup_lr=0.05, weight_decay=0.01, momentum=0.5)
    expected, velocity = Linear(), torch.zeros(3, 6)
    train = blobs()
    stage = learner.stages(settings)[0]
    deaf = type(stage)("plain", settings, 2, lambda batch: {"ce": plain_loss(learner, batch)}, stage.parameters)
    fit(learner, [deaf], train, context=context(accelerator))
    for lr in (0.05, 0.1):
        expected.zero_grad()
        plain_loss(expected, train.batch(torch.arange(30))).backward()
        velocity = 0.5 * velocity + expected.weight.grad + 0.01 * expected.weight.detach()
        expected.weight.data -= lr * velocity
    torch.testing.assert_close(learner.weight, expected.weight)


def plain_loss(learner, batch):
    return torch.nn.functional.cross_entropy(learner.logits(batch), batch.labels)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_rates_are_multiples_of_the_learning_rate(accelerator, optimizer):
    """Two learners of one weight each, in one stage: the first steps are as long as their rates say."""
    slow, fast, still = Linear(), Linear(), Linear()
    settings = recipe(epochs=1, batch_size=30, lr=1e-3, warmup_epochs=0, weight_decay=0.0, optimizer=optimizer)
    start = slow.weight.detach().clone()

    def loss(batch):
        return {str(number): plain_loss(learner, batch) for number, learner in enumerate((slow, fast, still))}

    weights = [slow.weight, fast.weight, still.weight]
    stage = GradientStage("three", settings, 1, loss, weights, rates=[1.0, 10.0, 0.0])
    fit(slow, [stage], blobs(), context=context(accelerator))
    assert not torch.equal(slow.weight, start)
    torch.testing.assert_close(fast.weight - start, 10 * (slow.weight - start), rtol=1e-3, atol=1e-6)
    assert torch.equal(still.weight, start)


def test_every_parameter_has_a_rate():
    with pytest.raises(ValueError, match="1 parameters, but 2 rates"):
        GradientStage("one", recipe(), 1, lambda batch: {}, list(Linear().parameters()), rates=[1.0, 2.0])


def test_gradients_are_clipped(accelerator):
    settings = recipe(epochs=1, batch_size=30, lr=1.0, warmup_epochs=0, momentum=0.0, weight_decay=0.0, grad_clip=1e-3)
    learner, _ = learn(accelerator, settings)
    assert float((learner.weight - Linear().weight).detach().norm()) == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_stops_at_once(accelerator, tmp_path):
    file = CheckpointFile(tmp_path / "checkpoint.safetensors", "run")
    with pytest.raises(TrainingError) as caught:
        learn(accelerator, recipe(lr=1e30), checkpoints=file)
    assert "epoch 2, step" in str(caught.value)
    assert "`settings={'lr': 1e+29}`" in str(caught.value)
    kept = file.load()
    assert kept.position.epoch == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept.learned.values())


def test_images_with_nan_features_stop_at_once(accelerator):
    train = blobs()
    train.features[7] = math.nan
    with pytest.raises(TrainingError, match=r"stage 'stage0', epoch 1, .*cross_entropy=nan"):
        learn(accelerator, recipe(), train=train)


def test_best_epoch_on_validation_images_is_kept(accelerator):
    """The labels of `val` fit the initial weights, so that the first epoch is the best and later ones are worse."""
    val = blobs(seed=1)
    first, _ = learn(accelerator, recipe(epochs=1, lr=1.0))
    val = FeatureFeed(val.features, first.logits(val.batch(torch.arange(30))).argmax(1).detach())
    last, _ = learn(accelerator, recipe(epochs=6, lr=1.0), val=val)
    best, lines = learn(accelerator, recipe(epochs=6, lr=1.0, select="best-val"), val=val)
    *epochs, kept = lines
    scores = [line["val_accuracy"] for line in epochs]
    assert scores[0] == 1.0
    assert scores[-1] < 1.0
    assert (kept["kept_epoch"], kept["val_accuracy"]) == (0, 1.0)
    assert torch.equal(best.weight, first.weight)
    assert not torch.equal(last.weight, first.weight)


def test_every_few_epochs_is_a_candidate_and_the_last(accelerator):
    val = blobs(seed=1)
    settings = recipe(epochs=7, lr=0.3, select="best-val", select_every=3)
    _, (*epochs, kept) = learn(accelerator, settings, val=val)
    assert [line["epoch"] for line in epochs if "val_accuracy" in line] == [2, 5, 6]
    _, lines = learn(accelerator, recipe(epochs=7, lr=0.3, select="best-val"), val=val)
    scores = {line["epoch"]: line["val_accuracy"] for line in lines[:-1]}
    assert kept["kept_epoch"] == max([2, 5, 6], key=scores.__getitem__)
    assert kept["val_accuracy"] == scores[kept["kept_epoch"]]


def test_the_earliest_of_equal_epochs_is_kept(accelerator):
    settings = recipe(epochs=3, lr=1e-9, warmup_lr=1e-9, select="best-val")
    best, lines = learn(accelerator, settings, val=blobs(seed=1))
    first, _ = learn(accelerator, recipe(epochs=1, lr=1e-9, warmup_lr=1e-9))
    assert len({line["val_accuracy"] for line in lines}) == 1
    assert torch.equal(best.weight, first.weight)


def test_a_stage_learns_from_its_rows_as_if_there_were_no_others(accelerator):
    feed, rows, some = blobs(), torch.tensor([3, 4, 8, 9, 13, 20, 21]), recipe(batch_size=3, epochs=2)
    part, alone = Linear(), Linear()
    fit(part, [dataclasses.replace(part.stages(some)[0], rows=rows)], feed, context=context(accelerator))
    fit(alone, alone.stages(some), RepeatedFeed(feed, rows), context=context(accelerator))
    assert set(part.seen) == set(rows.tolist())
    assert torch.equal(part.weight, alone.weight)
    told = []
    stages = [SolverStage("some", lambda train, val: told.append(train.labels.tolist()) or {}, rows=rows)]
    fit(part, stages, feed, context=context(accelerator))
    assert told == [feed.labels[rows].tolist()]


def test_a_stage_that_is_not_wanted_is_left_out(accelerator):
    """It is asked when its turn comes: an earlier stage may decide."""
    wanted: list[bool] = []
    method, journal = Linear(), Journal()
    before = method.weight.clone()
    (stage,) = method.stages(recipe(batch_size=10, epochs=1))
    stages = [
        SolverStage("plan", lambda train, val: wanted.append(False) or {}),
        dataclasses.replace(stage, name="no", wanted=lambda: wanted[-1]),
        SolverStage("never", lambda train, val: pytest.fail("it is not wanted"), wanted=lambda: wanted[-1]),
        SolverStage("again", lambda train, val: wanted.append(True) or {}),
        dataclasses.replace(stage, name="yes", wanted=lambda: wanted[-1]),
    ]
    fit(method, stages, blobs(), context=context(accelerator, journal=journal))
    assert [line["stage"] for line in journal.lines] == ["plan", "again", "yes"]
    assert not torch.equal(method.weight, before)


@pytest.mark.parametrize("val", [None, FeatureFeed(torch.zeros(0, 6), torch.zeros(0, dtype=torch.long))])
def test_selection_needs_validation_images(accelerator, val):
    with pytest.raises(TrainingError, match=r"select=best-val needs validation images.*select=last"):
        learn(accelerator, recipe(select="best-val"), val=val)


def test_selection_needs_a_score(accelerator):
    learner = Linear()
    with pytest.raises(TrainingError, match=r"select=best-val needs a score of validation images.*select=last"):
        fit(learner, learner.stages(recipe(select="best-val")), blobs(), blobs(seed=1), context=context(accelerator))


def test_the_best_epoch_is_that_of_the_highest_score(accelerator):
    """Whatever the score counts; it sees the validation images and nothing else."""
    learner, val, asked = Linear(), blobs(seed=1), []

    def score(feed):
        asked.append(feed)
        return [2.0, 7.5, -1.0][len(asked) - 1]

    journal = Journal()
    stages = learner.stages(recipe(select="best-val"))
    fit(learner, stages, blobs(), val, context=context(accelerator, journal=journal), score=score)
    assert len(asked) == 3
    assert all(feed is val for feed in asked)
    kept = journal.lines[-1]
    assert (kept["kept_epoch"], kept["val_accuracy"]) == (1, 7.5)


def test_stages_run_in_order(accelerator):
    learner, journal = Linear(), Journal()

    def solve(train, val):
        assert val is None
        learner.weight.data.zero_()
        return {"images": float(len(train))}

    stages = [*learner.stages(recipe(epochs=1)), SolverStage("solver", solve)]
    fit(learner, stages, blobs(), context=context(accelerator, journal=journal))
    assert [line["stage"] for line in journal.lines] == ["stage0", "solver"]
    assert journal.lines[1]["images"] == 30
    assert not learner.weight.any()


def test_bf16_autocast_learns_too():
    from acclimate.training.devices import make_accelerator

    accelerator = make_accelerator(torch.device("cpu"), "bf16")
    learner, _ = learn(accelerator, recipe(epochs=8))
    assert learner.weight.dtype == torch.float32
    assert learner.accuracy(blobs()) > 0.9


class Watched(Linear):
    """Keeps the weight before every step."""

    def __init__(self):
        super().__init__()
        self.history = []

    def loss(self, batch):
        self.history.append(self.weight.detach().clone())
        return super().loss(batch)


def test_weighted_mean_of_the_epochs(accelerator):
    shares, settings = (1.0, 3.0, 4.0), recipe(epochs=3)
    learner, last = Watched(), Linear()
    (stage,) = learner.stages(settings)
    fit(learner, [dataclasses.replace(stage, averaging=shares)], blobs(), context=context(accelerator))
    fit(last, last.stages(settings), blobs(), context=context(accelerator))
    ends = [learner.history[4], learner.history[8], last.weight]  # four steps an epoch
    expected = sum(share / 8 * end for share, end in zip(shares, ends, strict=True))
    torch.testing.assert_close(learner.weight, expected)
    assert not torch.allclose(learner.weight, last.weight)


def test_averaging_does_not_go_with_selecting(accelerator):
    with pytest.raises(ConfigError, match="select=best-val: the stage 'stage0' averages its epochs"):
        dataclasses.replace(Linear().stages(recipe(select="best-val"))[0], averaging=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="3 epochs need as many weights"):
        dataclasses.replace(Linear().stages(recipe())[0], averaging=(1.0,))
