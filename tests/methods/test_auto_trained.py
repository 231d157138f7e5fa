"""Parts of auto that descend gradients: each learned without every fold, weighed, and trained as time allows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import acclimate
from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts
from acclimate.methods.auto import trials
from acclimate.methods.auto.candidates import SOLVED, TRAINED
from acclimate.methods.auto.config import AutoConfig
from acclimate.methods.coop import CoOp
from acclimate.methods.parts import folds
from acclimate.training.feeds import RepeatedFeed
from tests.helpers.command import acclimate as command
from tests.helpers.methods import descend, learn, make, stages_of, without_domain_encoder

pytestmark = pytest.mark.one_family


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two epochs of everything, and of what is solved at once kernel ridge regression alone."""
    for name in ("linear-probe", "gda", "domain-linear-probe"):
        monkeypatch.delitem(SOLVED, name)
    for name, one in TRAINED.items():
        monkeypatch.setitem(TRAINED, name, one._replace(settings={**one.settings, "epochs": 2}))


@pytest.fixture
def facts(world):
    return TrainingFacts(images=18, shots=6, labels=tuple(world.train.labels.tolist()))


def test_a_copy_learns_without_its_fold_and_is_asked_about_that(world, facts):
    method = make(world, "auto", folds=2, trained="zs-lp,coop")
    stages = stages_of(method, facts)
    first = {name: tensor.clone() for name, tensor in method.trials.copies["coop"][1].learned_state().items()}
    descend(method, stages, world.train)
    fold = folds.deal(world.train.labels, most=3)
    rows, rest = (fold == 1).nonzero()[:, 0], (fold != 1).nonzero()[:, 0]
    alone = make(world, "coop", epochs=2)
    alone.load_learned_state(first)
    (stage,) = alone.stages(facts.among(rest.tolist()))
    descend(alone, [replace(stage, name="coop without fold 2")], RepeatedFeed(world.train, rest))
    for name, tensor in alone.learned_state().items():
        assert torch.equal(tensor, method.trials.copies["coop"][1].learned_state()[name])
        assert not torch.equal(tensor, first[name])
    said = method.trials.left_out(world.train)
    assert list(said) == ["zs-lp", "coop"]
    torch.testing.assert_close(
        said["coop"][rows], folds.log_probabilities(alone.eval(), RepeatedFeed(world.train, rows))
    )


def test_what_the_log_says_and_what_is_kept(world, facts):
    method = make(world, "auto", folds=2, trained="coop")
    lines = learn(world, method, facts)
    assert lines[0]["trained"] == ["coop"]
    assert [line["stage"] for line in lines if "epoch" in line and line["epoch"] == 1] == [
        *(f"coop without fold {fold}" for fold in (1, 2, 3)),
        "coop",
    ]
    assert lines[-1]["log_loss"].keys() == {*SOLVED, "coop", "auto"}
    assert lines[-1]["weights"].keys() == {*SOLVED, "coop"}
    assert method.held_out is None
    state = method.learned_state()
    assert not any(name.startswith("trials") for name in state)
    again = make(world, "auto", folds=2, trained="coop", seed=7)
    again.load_learned_state(state)
    batch = world.test.batch(torch.arange(6))
    assert torch.equal(again.eval().logits(batch), method.logits(batch))


@pytest.mark.parametrize(("weight", "reads"), [(0.0, False), (0.5, True)])
def test_a_part_without_weight_is_not_read_for(world, weight, reads):
    method = make(world, "auto", folds=2, trained="clip-lora")
    assert "pixels" in method.inputs.prediction
    state = method.learned_state()
    state["weights"] = torch.tensor([1.0 - weight, *[0.0] * (len(method.parts) - 2), weight])
    method.load_learned_state(state)
    assert ("pixels" in method.inputs.prediction) == reads
    solved = frozenset().union(*(method.parts[name].inputs.prediction for name in SOLVED))
    assert solved == method.inputs.prediction - {"pixels"}


@pytest.mark.parametrize(("minutes", "expected"), [(0.0, []), (1.0, ["coop"]), (100.0, ["zs-lp", "coop"])])
def test_time_is_spent_on_one_after_another(world, facts, monkeypatch, minutes, expected):
    """zs-lp would take 80 seconds and coop 8: three copies of 12 images and itself of 18, two epochs each."""
    steps = {"zs-lp": 10.0, "coop": 1.0}
    monkeypatch.setattr(trials, "step_seconds", lambda one, stage, train: steps[one.name])
    method = make(world, "auto", folds=2, trained="zs-lp,coop", minutes=minutes)
    before = {name: tensor.clone() for name, tensor in method.parts["zs-lp"].learned_state().items()}
    plan, *_, last = learn(world, method, facts)
    assert plan["trained"] == expected
    assert plan["expected_seconds"] == {"zs-lp": 80.0, "coop": 8.0}
    assert last["log_loss"].keys() == {*SOLVED, *expected, "auto"}
    for name, tensor in method.parts["zs-lp"].learned_state().items():
        assert torch.equal(tensor, before[name]) == ("zs-lp" not in expected)


def test_a_step_that_is_timed_learns_nothing(world, facts):
    one = make(world, "coop", epochs=2)
    (stage,) = one.stages(facts)
    before, drawn = one.learned_state()["context"].clone(), torch.get_rng_state()
    assert trials.step_seconds(one, stage, world.train) > 0
    assert torch.equal(one.learned_state()["context"], before)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in one.parameters())


def test_what_the_models_do_not_allow_is_no_candidate(world):
    bare, _ = without_domain_encoder(world)
    usual = TRAINED.keys() - {"aape"}  # has to be named
    assert make(bare, "auto", folds=2, trained="suitable").trained.keys() == usual - {"gdpl"}
    assert make(world, "auto", folds=2, trained="suitable").trained.keys() == usual
    with pytest.raises(ConfigError, match="trained='coop,gdpl': gdpl reads the features of a domain encoder and none"):
        make(bare, "auto", trained="coop,gdpl")


def test_one_image_a_class_leaves_nothing_out(world):
    rows = torch.tensor([int((world.train.labels == label).nonzero()[0]) for label in range(3)])
    own = type(world)(**{**vars(world), "train": RepeatedFeed(world.train, rows)})
    method = make(world, "auto", folds=2, trained="coop")
    plan, line = learn(own, method, TrainingFacts(images=3, shots=1, labels=(0, 1, 2)))
    assert plan["trained"] == []
    assert line["weights"]["coop"] == 0.0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trained": "coop,cop"}, "'cop' is no candidate; give suitable, or some of gdpl, "),
        ({"minutes": 5.0}, "minutes=5 is time for candidates, and trained=none"),
    ],
)
def test_settings_that_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        AutoConfig(**settings)


@pytest.mark.slow
def test_a_killed_run_goes_on(pictures, tiny, tmp_path, monkeypatch):
    def adapt(**options):
        how = {"shots": 4, "domain": "natural", "device": "cpu", "checkpoint_seconds": 0.0}
        return acclimate.adapt(
            pictures, "auto", tiny, settings={"trained": "coop", "minutes": 60.0, "folds": 2}, **how, **options
        )

    unbroken = adapt()
    loss, steps = CoOp.loss, iter(range(9))

    def failing(self, batch):
        next(steps)
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(CoOp, "loss", failing)
        with pytest.raises(StopIteration):
            adapt(out=tmp_path / "run")
    monkeypatch.setattr(trials, "step_seconds", lambda *given: pytest.fail("what has been decided is decided again"))
    resumed = adapt(out=tmp_path / "run")
    assert resumed.record["metrics"] == unbroken.record["metrics"]
    for name, tensor in unbroken.method.learned_state().items():
        assert torch.equal(tensor, resumed.method.learned_state()[name]), name
    assert acclimate.load(tmp_path / "run", tiny, device="cpu").evaluate(pictures.test) == resumed.evaluate(
        pictures.test
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--time", "10"), "--time 10: give a number and s, m or h, such as 10m"),
        (("--time", "10m", "--method", "coop"), "--time 10m is for auto, and --method names coop"),
        (("--time", "10m", "--set", "trained=cop"), "'cop' is no candidate"),
    ],
)
def test_times_that_are_refused(picture_folder, tmp_path, words, said):
    done = command("adapt", picture_folder, *words, "--out", tmp_path / "run")
    assert done.code == 2
    assert said in done.error
    assert not (tmp_path / "run").exists()


def test_the_command_leaves_out_what_there_is_no_time_for(picture_folder, tmp_path):
    done = command("adapt", picture_folder, "--shots", "4", "--time", "0s", "--out", tmp_path / "run", "--quiet")
    assert done.code == 0, done.err
    plan = json.loads((tmp_path / "run" / "record.json").read_text())["solved"]["auto: plan"]
    assert plan["trained"] == []
    assert plan["expected_seconds"].keys() == TRAINED.keys() - {"gdpl", "aape"}
