"""A bench does what is missing, one start at a time in a folder, and collects what is there."""

from __future__ import annotations

import json

import pytest
from filelock import FileLock

from acclimate.bench import collect, plan_bench, run_bench
from acclimate.bench.work import Worker
from acclimate.errors import AcclimateError, ConfigError, RunError
from tests.helpers.benches import Notes, record


@pytest.fixture
def world(spec, planned, tmp_path):
    """A spec of two quick jobs, the jobs, and the folder of the bench."""
    changes = {"methods": ["zero-shot", "linear-probe"], "seeds": 1}
    return spec(**changes), planned(**changes), tmp_path / "out"


def do(world, *numbers):
    """Do some of the jobs in this process."""
    read, jobs, out = world
    shop = Worker(read.data, out, "cpu", None)
    for number in numbers:
        shop.run(jobs[number])


def test_a_plan_loads_what_the_spec_names(spec, planned, tiny_folders):
    read = spec()
    assert [job.hash for job in plan_bench(read, "cpu")] == [job.hash for job in planned()]
    assert plan_bench(read, "cpu")[0].backbone == str(tiny_folders["clip"])


def test_a_plan_names_the_file_and_the_entry_of_what_it_cannot_load(spec, tmp_path):
    def error(**changes):
        with pytest.raises(ConfigError) as raised:
            plan_bench(spec(**changes), "cpu")
        assert str(raised.value).startswith(f"{tmp_path / 'spec.yaml'}: ")
        assert "\n" not in str(raised.value)
        return str(raised.value)

    assert "data.animals: nowhere: no such" in error(data={"animals": "nowhere"}).replace(f"{tmp_path}/", "", 2)
    assert "backbones: no backbone folder 'nowhere'" in error(backbones=["nowhere"])
    assert "suites[0]: cross-dataset needs two" in error(suites=[{"protocol": "cross-dataset", "data": "animals"}])


def test_data_that_no_suite_uses_need_not_be_there(spec, animals):
    assert len(plan_bench(spec(data={"animals": str(animals), "unused": "nowhere"}), "cpu")) == 4


def test_a_device_that_is_not_there(spec):
    with pytest.raises(AcclimateError, match="`device='tpu'`: choose auto"):
        plan_bench(spec(), "tpu")


def test_what_is_done_is_not_done_again_and_its_figures_are_collected(world):
    read, jobs, out = world
    do(world, 0, 1)
    notes = Notes()
    outcome = run_bench(read, jobs, out, notes, device="cpu")
    assert (notes.begun, outcome.failures, outcome.jobs) == ([], [], jobs)
    scores = {(score.method, score.column, score.metric): score for score in outcome.scores}
    assert {column for _, column, _ in scores} == {"test", "run"}
    assert len(scores) == 2 * (5 + 2)
    for job in jobs:
        found = record(job, out)
        accuracy = scores[job.label, "test", "accuracy"]
        assert accuracy.value == found["metrics"]["accuracy"]["value"]
        assert accuracy.run == job.run
        assert scores[job.label, "run", "learned_parameters"].value == found["cost"]["learned_parameters"]
        assert scores[job.label, "run", "seconds"].value == found["cost"]["seconds"].get(job.label, 0.0)


def test_a_job_counts_with_its_mark_and_its_record_only(world):
    _, jobs, out = world
    do(world, 0, 1)
    assert {score.method for score in collect(jobs, out)} == {"zero-shot", "linear-probe"}
    (jobs[0].folder(out) / "done").unlink()
    assert {score.method for score in collect(jobs, out)} == {"linear-probe"}
    (jobs[1].folder(out) / "record.json").unlink()
    assert collect(jobs, out) == []


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"tests": {}}', '{"tests": {"test": {"accuracy": 3}}, "metrics": null}']
)
def test_a_damaged_record_is_named(world, damage):
    _, jobs, out = world
    do(world, 0)
    path = jobs[0].folder(out) / "record.json"
    path.write_text(damage)
    with pytest.raises(RunError) as raised:
        collect(jobs, out)
    assert str(path) in str(raised.value)
    assert f"delete the folder {path.parent} and start again" in str(raised.value)


def test_columns_of_a_protocol(spec, planned, tmp_path):
    changes = {"methods": ["linear-probe"], "seeds": 1, "suites": [{"protocol": "base-to-novel", "data": "animals"}]}
    (job,) = planned(**changes)
    Worker(spec(**changes).data, tmp_path / "out", "cpu", None).run(job)
    values = {score.column: score.value for score in collect([job], tmp_path / "out") if score.metric == "accuracy"}
    assert list(values) == ["base", "novel", "harmonic mean", "all classes"]
    assert [value is None for value in values.values()] == [False, True, True, True]  # a probe knows its classes only


def test_one_bench_a_folder(world):
    read, jobs, out = world
    do(world, 0, 1)
    with (
        FileLock(out / ".lock"),
        pytest.raises(RunError, match=r"another bench is running in .*out; wait for its end, or name another `out`$"),
    ):
        run_bench(read, jobs, out, Notes(), device="cpu")
    assert run_bench(read, jobs, out, Notes(), device="cpu").failures == []  # the lock went with its holder
    (out / ".lock").write_text("left behind by a process that was killed")
    assert run_bench(read, jobs, out, Notes(), device="cpu").failures == []


def test_a_folder_that_cannot_be_used(world, tmp_path):
    read, jobs, _ = world

    def error(out):
        with pytest.raises(RunError) as raised:
            run_bench(read, jobs, out, Notes(), device="cpu")
        return str(raised.value)

    (tmp_path / "file").write_text("x")
    for place in ("file", "file/below"):
        message = error(tmp_path / place)
        assert message.startswith(f"cannot make the folder {tmp_path / place}: ")
        assert message.endswith("; choose another `out`")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/results.md").write_text("mine")
    assert "docs holds other files (such as results.md); name a new or empty folder with `out`" in error(
        tmp_path / "docs"
    )
    assert (tmp_path / "docs/results.md").read_text() == "mine"


def test_a_job_folder_is_a_run_folder(world):
    """What `adapt` leaves: it can be evaluated, and moved."""
    from acclimate import load

    _, jobs, out = world
    do(world, 1)
    model = load(jobs[1].folder(out))
    assert model.record == record(jobs[1], out)
    assert json.loads((jobs[1].folder(out) / "splits.json").read_text())["source"] == "animals"
