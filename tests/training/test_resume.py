"""A fit that is interrupted anywhere and started again ends where an unbroken one ends, to the last bit."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch

from acclimate.errors import RunError
from acclimate.training.checkpoint import CheckpointFile, save_tensors
from acclimate.training.fit import fit
from acclimate.training.journal import Journal
from acclimate.training.progress import Silent
from acclimate.training.stages import SolverStage
from tests.helpers.learner import Interrupted, Linear, StopAt, blobs, context, recipe

STEPS = 4  # in an epoch of 30 images in batches of 8


class Run:
    """One run in a folder, in as many attempts as it takes."""

    def __init__(self, folder, accelerator, *recipes, solver=False, every=0.0, val=None, averaging=None):
        folder.mkdir()
        self.log = folder / "log.jsonl"
        self.file = CheckpointFile(folder / "checkpoint.safetensors", "run")
        self.accelerator, self.recipes, self.solver, self.every, self.val = accelerator, recipes, solver, every, val
        self.averaging = averaging

    def attempt(self, stop=None):
        learner = Linear()
        stages = [dataclasses.replace(stage, averaging=self.averaging) for stage in learner.stages(*self.recipes)]
        if self.solver:
            stages.insert(1, SolverStage("solver", lambda train, val: halve(learner)))
        kept = self.file.load()
        journal = Journal(self.log, kept.position.journal if kept else 0)
        progress = Silent() if stop is None else StopAt(stop)
        fit(
            learner,
            stages,
            blobs(),
            self.val,
            context=context(
                self.accelerator,
                journal=journal,
                checkpoints=self.file,
                progress=progress,
                checkpoint_seconds=self.every,
            ),
            score=learner.accuracy,
        )
        return learner.learned_state(), self.log.read_bytes()


def halve(learner):
    learner.weight.data /= 2
    return {"halved": 1.0}


def same(left, right):
    return left[1] == right[1] and all(torch.equal(left[0][name], right[0][name]) for name in right[0])


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 5, 9, 11])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_interrupted_once(tmp_path, accelerator, optimizer, stop):
    settings = recipe(optimizer=optimizer, grad_clip=1.0)
    unbroken = Run(tmp_path / "one", accelerator, settings).attempt()
    run = Run(tmp_path / "two", accelerator, settings)
    with pytest.raises(Interrupted):
        run.attempt(stop)
    assert same(run.attempt(), unbroken)


def test_interrupted_at_every_step(tmp_path, accelerator):
    settings = recipe(select="best-val", lr=0.5)
    unbroken = Run(tmp_path / "one", accelerator, settings, val=blobs(seed=1)).attempt()
    run = Run(tmp_path / "two", accelerator, settings, val=blobs(seed=1))
    for _ in range(3 * STEPS - 1):
        with pytest.raises(Interrupted):
            run.attempt(1)
    assert same(run.attempt(), unbroken)


@pytest.mark.parametrize("stop", range(1, 6 * STEPS, 3))
def test_interrupted_between_and_within_stages(tmp_path, accelerator, stop):
    settings = [recipe(optimizer="adamw"), recipe(select="best-val")]
    unbroken = Run(tmp_path / "one", accelerator, *settings, solver=True, val=blobs(seed=1)).attempt()
    run = Run(tmp_path / "two", accelerator, *settings, solver=True, val=blobs(seed=1))
    with pytest.raises(Interrupted):
        run.attempt(stop)
    assert same(run.attempt(), unbroken)


@pytest.mark.parametrize("stop", [1, STEPS, STEPS + 2, 3 * STEPS - 1])
def test_interrupted_while_averaging(tmp_path, accelerator, stop):
    unbroken = Run(tmp_path / "one", accelerator, recipe(), averaging=(1.0, 2.0, 3.0)).attempt()
    run = Run(tmp_path / "two", accelerator, recipe(), averaging=(1.0, 2.0, 3.0))
    with pytest.raises(Interrupted):
        run.attempt(stop)
    assert same(run.attempt(), unbroken)


def test_interrupted_before_the_first_checkpoint(tmp_path, accelerator):
    unbroken = Run(tmp_path / "one", accelerator, recipe()).attempt()
    run = Run(tmp_path / "two", accelerator, recipe(), every=60.0)
    with pytest.raises(Interrupted):
        run.attempt(2 * STEPS + 1)
    assert run.file.load() is None
    assert len(run.log.read_text().splitlines()) == 2  # these are written again, not twice
    assert same(run.attempt(), unbroken)


def test_a_torn_last_line_of_the_log_is_cut_off(tmp_path, accelerator):
    unbroken = Run(tmp_path / "one", accelerator, recipe()).attempt()
    run = Run(tmp_path / "two", accelerator, recipe())
    with pytest.raises(Interrupted):
        run.attempt(STEPS + 2)
    with run.log.open("a") as file:
        file.write('{"stage": "stage0", "epo')
    assert same(run.attempt(), unbroken)


def test_a_finished_fit_does_nothing(tmp_path, accelerator):
    run = Run(tmp_path / "one", accelerator, recipe())
    assert same(run.attempt(), run.attempt(0))


def test_time_adds_up_over_attempts(tmp_path, accelerator):
    run = Run(tmp_path / "one", accelerator, recipe())
    with pytest.raises(Interrupted):
        run.attempt(STEPS)
    first = run.file.load().position.seconds
    run.attempt()
    assert run.file.load().position.seconds > first > 0


def test_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_tensors({"learned/weight": torch.zeros(1)}, path, {"identity": "one", "position": "{}"})
    assert CheckpointFile(path, "one").load().learned["weight"].shape == (1,)
    with pytest.raises(RunError, match=r"checkpoint of another run; choose another `out`, or delete the file"):
        CheckpointFile(path, "two").load()


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage"])
def test_damaged_checkpoint_is_named(tmp_path, accelerator, damage):
    run = Run(tmp_path / "one", accelerator, recipe())
    with pytest.raises(Interrupted):
        run.attempt(3)
    content = run.file.path.read_bytes()
    run.file.path.write_bytes({"cut": content[:-20], "empty": b"", "garbage": b"x" * 300}[damage])
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        run.attempt()


def test_no_part_of_a_checkpoint_is_left(tmp_path, accelerator):
    run = Run(tmp_path / "one", accelerator, recipe())
    run.attempt()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["checkpoint.safetensors", "log.jsonl"]
    run.file.delete()
    run.file.delete()
    assert run.file.load() is None


def test_a_checkpoint_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*free some space"):
        save_tensors({"weight": torch.zeros(1)}, tmp_path / "missing" / "x.safetensors")


@pytest.mark.parametrize("every", [0.0, 1000.0])
def test_a_folder_that_is_removed_meanwhile_is_an_error_of_one_line(tmp_path, accelerator, every):
    class Removing(Silent):
        def advance(self, steps, **losses):
            shutil.rmtree(tmp_path / "run", ignore_errors=True)

    (tmp_path / "run").mkdir()
    learner, journal = Linear(), Journal(tmp_path / "run" / "log.jsonl")
    files = CheckpointFile(tmp_path / "run" / "checkpoint.safetensors", "run")
    how = {"journal": journal, "checkpoints": files, "progress": Removing(), "checkpoint_seconds": every}
    with pytest.raises(RunError, match=r"log\.jsonl is gone: the folder was moved or removed while the run learned"):
        fit(learner, learner.stages(recipe(epochs=2)), blobs(), context=context(accelerator, **how))
