"""What an earlier version has left on disk: measured as it was then, found finished, and gone on with."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

import acclimate
from tests.helpers.earlier import CALLS, KILLED, RUNS, adapt, write_images

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def copied(tmp_path):
    """Copies a run, which may change."""
    return lambda name: shutil.copytree(RUNS / name, tmp_path / name)


def record(run):
    return json.loads((run / "record.json").read_text())


def check_alike(found, recorded):
    """Numbers to 1e-6; texts, counts and how many are right without any difference."""
    assert type(found) is type(recorded)
    if isinstance(found, dict):
        assert list(found) == list(recorded)
        for name, value in found.items():
            if name == "accuracy":
                assert value == recorded[name]
            check_alike(value, recorded[name])
    elif isinstance(found, list):
        assert len(found) == len(recorded)
        for one, other in zip(found, recorded, strict=True):
            check_alike(one, other)
    elif isinstance(found, float):
        assert found == pytest.approx(recorded, abs=1e-6)
    else:
        assert found == recorded


def test_every_run_is_here():
    assert sorted(run.name for run in RUNS.iterdir()) == sorted([*CALLS, *KILLED])
    assert {run.name for run in RUNS.iterdir() if not (run / "record.json").exists()} == {*KILLED}


@pytest.mark.parametrize("name", CALLS)
def test_it_is_measured_as_it_was(name, sets):
    model = acclimate.load(RUNS / name, device="cpu")
    assert model.record == record(RUNS / name)
    found = model.evaluate(sets[CALLS[name][0]].split("test"))
    check_alike(json.loads(json.dumps(found)), model.record["metrics"])


@pytest.mark.parametrize("name", CALLS)
def test_the_same_command_finds_this_very_run_finished(name, sets, copied, caplog):
    run = copied(name)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with caplog.at_level("INFO", "acclimate"):
        model = adapt(name, sets, run)
    assert f"{run} holds this very run, finished; nothing to do" in caplog.text
    assert model.record == record(RUNS / name)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_goes_on(name, sets, copied, caplog):
    run = copied(name)
    kept = (run / "log.jsonl").read_text()
    with caplog.at_level("INFO", "acclimate"):
        model = adapt(name, sets, run)
    assert f"going on with the run in {run}" in caplog.text
    assert kept
    assert (run / "log.jsonl").read_text().startswith(kept)
    assert not (run / "checkpoint.safetensors").exists()
    assert record(run) == model.record
    assert model.record["metrics"]["samples"] == 12
    again = acclimate.load(run, device="cpu")
    assert again.evaluate(sets["animals"].test) == model.record["metrics"]


def test_it_ends_where_the_unbroken_one_ended(sets, copied):
    model = adapt("coop-killed", sets, copied("coop-killed"))
    unbroken = acclimate.load(RUNS / "coop", device="cpu")
    assert model.record["identity"] == unbroken.record["identity"]
    (name, tensor), *others = model.method.learned_state().items()
    assert (name, others) == ("context", [])
    torch.testing.assert_close(tensor, unbroken.method.learned_state()[name], rtol=0, atol=1e-6)
    known = unbroken.record["metrics"]  # of a release that made neither sets nor p-values
    check_alike({name: value for name, value in model.record["metrics"].items() if name in known}, known)
    assert [line["epoch"] for line in model.journal] == [line["epoch"] for line in unbroken.journal]


def test_other_settings_are_not_taken_for_the_same_run(sets, copied):
    with pytest.raises(acclimate.errors.RunError, match="holds a finished run of other data or settings"):
        adapt("coop", sets, copied("coop"), seed=2)
    with pytest.raises(acclimate.errors.RunError, match="is a checkpoint of another run"):
        adapt("coop-killed", sets, copied("coop-killed"), seed=2)
