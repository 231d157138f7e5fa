"""`acclimate bench`: real processes, tiny backbones, generated pictures."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys

import pytest
import torch
from filelock import FileLock
from rich.console import Console

from acclimate.bench.scores import read_scores
from acclimate.cli import live
from acclimate.cli.console import THEME
from acclimate.cli.live import LiveBench
from tests.helpers.benches import COOP, children, entries, figures, is_alive, make_job, stamps, write_spec
from tests.helpers.caches import rows_in
from tests.helpers.command import acclimate, interrupted, start
from tests.helpers.disks import full_disk
from tests.helpers.pictures import make_split_pictures
from tests.helpers.waiting import wait_until

SUITES = [{"protocol": name, "data": "animals"} for name in ("few-shot", "base-to-novel")]
JOBS = 8  # two protocols, two methods, two seeds
pytestmark = pytest.mark.slow  # benches run in processes of their own
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The number of threads may decide the last bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_folders):
    """Pictures and a spec beside them."""
    place = tmp_path_factory.mktemp("bench")
    make_split_pictures(place / "animals", ("cat", "dog", "mill", "river"))
    write_spec(
        place / "spec.yaml", entries("animals", tiny_folders["clip"], title="Animals", suites=SUITES, metric="accuracy")
    )
    return place


@pytest.fixture(scope="module")
def finished(place):
    """What an unbroken bench says, and its folder."""
    done = acclimate("bench", place / "spec.yaml", "--out", place / "out", "--device", "cpu", "--no-cache")
    assert done.code == 0, done.err
    return place / "out", done


@pytest.fixture
def again(place, finished):
    """The same command on the finished folder: nothing is left to do."""

    def run(*words):
        return acclimate("bench", place / "spec.yaml", "--out", finished[0], "--device", "cpu", *words)

    return run


def test_a_bench_from_spec_to_tables(finished):
    out, done = finished
    assert len(list((out / "jobs").glob("*/done"))) == JOBS
    assert "few-shot, 2 shots, " in done.out
    assert "base-to-novel on animals, 2 shots" in done.out
    assert "accuracy (%)" in done.out
    assert "mean ± sd over 2 seeds" in done.out
    assert f"{JOBS} jobs, 0 of them done before; 1 side by side" in done.err
    assert f"{JOBS} of {JOBS} jobs done" in done.err
    assert "results.csv, results.md, results.tex in" in done.err
    names = {path.name for path in out.iterdir()}
    assert names == {".lock", "jobs", "results.csv", "results.md", "results.tex", "tables"}
    scores = read_scores(out / "results.csv")
    assert {score.method for score in scores} == {"zero-shot", "coop"}
    assert {score.column for score in scores} == {"test", "base", "novel", "harmonic mean", "all classes", "run"}
    assert (out / "results.md").read_text().startswith("## Animals\n")


def test_what_is_done_is_not_touched(finished, again):
    out, _ = finished
    before = stamps(out)
    done = again("--jobs", 2)  # of which none is started
    assert done.code == 0
    assert f"{JOBS} jobs, {JOBS} of them done before" in done.err
    assert stamps(out) == before


@pytest.mark.slow
@linux
def test_killed_in_the_middle_and_started_again(place, finished, tmp_path):
    """The whole process group dies; the workers have sessions of their own and notice that nobody is left."""
    out = tmp_path / "out"
    words = ("bench", place / "spec.yaml", "--out", out, "--device", "cpu", "--no-cache")
    process = start(*words, "--jobs", 2, start_new_session=True)
    wait_until(lambda: list((out / "jobs").glob("*/done")), "finished job", process)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(workers) == 2
    wait_until(lambda: not any(map(is_alive, workers)), "end of the workers of a bench that is gone")
    done = {path.parent.name for path in (out / "jobs").glob("*/done")}
    assert 0 < len(done) < JOBS
    before = {name: stamp for name, stamp in stamps(out).items() if name.split("/")[0] in done}
    resumed = acclimate(*words)
    assert resumed.code == 0, resumed.err
    assert f"{JOBS} jobs, {len(done)} of them done before" in resumed.err
    after = stamps(out)
    assert {name: after[name] for name in before} == before
    assert figures(out) == figures(finished[0])
    for name in sorted(path.name for path in (out / "jobs").iterdir()):
        one, two = (folder / "jobs" / name / "adapter.safetensors" for folder in (out, finished[0]))
        assert one.read_bytes() == two.read_bytes()


@linux
@pytest.mark.slow
def test_interrupted_from_the_keyboard(place, tiny_folders, tmp_path):
    long = {**COOP, "settings": {**COOP["settings"], "epochs": 100_000}}
    content = entries(place / "animals", tiny_folders["clip"], methods=["zero-shot", long], seeds=1)
    out = tmp_path / "out"
    before, workers = set(children(os.getpid())), set()

    def learning():
        workers.update({*children(os.getpid())} - before)
        return any(path.stat().st_size for path in (out / "jobs").glob("*/log.jsonl"))

    spec = write_spec(tmp_path / "long.yaml", content)
    done = interrupted(learning, "bench", spec, "--out", out, "--device", "cpu", "--no-cache")
    assert done.code == 130
    assert "interrupted; 1 of 2 jobs are done; the same command goes on from there" in done.error
    assert len(workers) == 1
    wait_until(lambda: not any(map(is_alive, workers)), "end of the worker of a bench that was interrupted")
    page = (out / "results.md").read_text()
    assert "zero-shot" in page
    assert "(0 of 1)" in page  # of the job that goes on next time


@pytest.mark.slow
def test_only_what_is_missing_is_done_and_what_fails_is_reported(finished, place, tiny_folders, tmp_path):
    """One folder is gone, another has lost its mark, and a method is new, whose loss goes to infinity."""
    out = shutil.copytree(finished[0], tmp_path / "out")
    gone, lost, *kept = sorted(path.name for path in (out / "jobs").iterdir())
    record = (out / f"jobs/{lost}/record.json").read_bytes()
    shutil.rmtree(out / "jobs" / gone)
    (out / f"jobs/{lost}/done").unlink()
    before = {name: stamp for name, stamp in stamps(out).items() if name.split("/")[0] in kept}

    wild = {**COOP, "label": "wild [one]", "settings": {**COOP["settings"], "epochs": 6, "lr": 1e30}}
    few, novel = SUITES
    suites = [{**few, "methods": ["zero-shot", "coop", "wild [one]"]}, {**novel, "methods": ["zero-shot", "coop"]}]
    content = entries("animals", tiny_folders["clip"], methods=["zero-shot", COOP, wild], suites=suites)
    spec = write_spec(place / "wild.yaml", content)
    done = acclimate("bench", spec, "--out", out, "--device", "cpu", "--no-cache", "--json")
    assert done.code == 1
    assert done.error == "error: 2 of 10 jobs failed, the others are done; mend what is wrong and start again"
    assert f"10 jobs, {len(kept)} of them done before; 1 side by side" in done.err
    assert done.err.count("failed: wild [one], few-shot animals, 2 shots, seed 1") == 2  # at once, and at the end
    assert "    the loss is not finite in stage 'coop', epoch 3" in done.err

    assert [row["job"] for row in done.json["failed"]] == [
        f"wild [one], few-shot animals, 2 shots, seed {seed}" for seed in (1, 2)
    ]
    failed = {row["hash"] for row in done.json["failed"]}
    assert all(str(out / "jobs" / name) in done.err for name in failed)
    assert all("the loss is not finite" in row["lines"][-1] for row in done.json["failed"])
    assert {score["method"] for score in done.json["scores"]} == {"zero-shot", "coop"}
    assert "| wild \\[one\\] | (0 of 2) |" in (out / "results.md").read_text()

    after = stamps(out)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after if name.endswith("/done")} == {gone, lost, *kept}
    assert {name.split("/")[0] for name in after} == {gone, lost, *kept, *failed}
    assert (out / f"jobs/{lost}/record.json").read_bytes() == record
    assert figures(out) == figures(finished[0])


def test_json(again):
    done = again("--json", "--quiet", "--compare", "zero-shot")
    assert (done.code, done.err) == (0, "")
    assert (done.json["jobs"], done.json["failed"]) == (JOBS, [])
    one = done.json["scores"][0]
    assert {"protocol", "data", "column", "method", "shots", "seed", "metric", "value"} <= set(one)
    (compared,) = done.json["comparisons"]
    assert (compared["a"], compared["b"], compared["units"]["n"]) == ("coop", "zero-shot", 3)


def test_metric_and_comparison(finished, again):
    done = again("--metric", "nll", "--compare", "zero-shot")
    assert "NLL" in done.out
    assert "Against zero-shot: NLL" in done.out
    assert "lower is better" in done.out
    assert "no p: 3 pairs" in done.out
    assert "accuracy" not in done.out
    assert (finished[0] / "tables").glob("*-nll.csv")
    costs = again("--metric", "learned_parameters")
    assert " 64" in costs.out  # two context tokens of 32 numbers


def test_dry_run(place, finished, again, tmp_path):
    done = again("--dry-run")
    assert done.code == 0
    assert f"{JOBS} jobs in {finished[0]}" in done.out
    assert [line.split() for line in done.out.splitlines() if "coop" in line] == [
        ["few-shot,", "animals,", "coop", "2", "2"],
        ["base-to-novel,", "animals,", "coop", "2", "2"],
    ]
    new = acclimate("bench", place / "spec.yaml", "--out", tmp_path / "new", "--dry-run", "--json")
    assert not (tmp_path / "new").exists()
    assert [row["done"] for row in new.json] == [False] * JOBS
    assert {row["hash"] for row in new.json} == {path.name for path in (finished[0] / "jobs").iterdir()}
    row = new.json[0]
    assert json.loads((finished[0] / "jobs" / row["hash"] / "job.json").read_text()) == row["content"]
    assert (row["label"], row["backbone"].endswith("clip")) == ("zero-shot", True)


def test_data_may_lie_elsewhere(place, finished, tmp_path):
    moved = shutil.copytree(place / "animals", tmp_path / "sets/animals")
    spec = shutil.copy(place / "spec.yaml", tmp_path / "spec.yaml")
    done = acclimate("bench", spec, "--data-root", moved.parent, "--out", finished[0], "--dry-run", "--json")
    assert [row["done"] for row in done.json] == [True] * JOBS


def test_the_folder_has_the_name_of_the_spec(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "runs/bench-spec" in acclimate("bench", place / "spec.yaml", "--dry-run").out
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_job_is_a_run(place, finished):
    for path in sorted((finished[0] / "jobs").iterdir()):
        job = json.loads((path / "job.json").read_text())
        if job["method"] == "coop" and job["protocol"]["name"] == "few-shot":
            done = acclimate("evaluate", path, place / "animals", "--json")
            assert done.code == 0, done.err
            measured = json.loads((path / "record.json").read_text())["metrics"]
            assert done.json["accuracy"] == measured["accuracy"]
            return
    raise AssertionError("no such job")


BAD = [
    ({}, ("--metric", "acuracy"), "no metric 'acuracy'"),
    ({}, ("--compare", "copo"), "no method is labelled 'copo'; did you mean 'coop'?"),
    ({}, ("--jobs", "0"), "--jobs"),
    ({}, ("--data-root", "nowhere"), "data.animals: nowhere/animals: no such file or folder"),
    ({"method": ["coop"]}, (), "bad.yaml: the file: unknown entry 'method'; did you mean 'methods'?"),
    ({"methods": ["copo"]}, (), "bad.yaml: methods[0]: unknown method 'copo'; did you mean 'coop'?"),
    ({"methods": [{"method": "coop", "settings": {"epoch": 1}}]}, (), "bad.yaml: methods[0]: unknown setting 'epoch'"),
    ({"methods": ["coop", {"method": "coop", "label": "b"}]}, (), "bad.yaml: suites[0]: 'coop' and 'b' are the same"),
    ({"methods": [{"method": "coop", "settings": {"select": "best-val"}}]}, (), "'coop' sets select=best-val, but the"),
    ({"data": {"animals": "gone"}}, (), "bad.yaml: data.animals: gone: no such file or folder"),
    ({"data": {"animals": {"path": "animals", "layout": "x"}}}, (), "bad.yaml: data.animals: layout: x is unknown"),
    ({"backbones": ["nowhere"]}, (), "bad.yaml: backbones: no backbone folder 'nowhere'"),
    ({"suites": [{"protocol": "few", "data": "animals"}]}, (), "bad.yaml: suites[0].protocol: unknown protocol 'few'"),
    ({"suites": [{"protocol": "leave-one-domain-out", "data": "animals"}]}, (), "suites[0]: animals: leave-one-domain"),
]


@pytest.mark.parametrize(("changes", "words", "expected"), BAD, ids=[row[2][:40] for row in BAD])
def test_bad_specs_run_nothing(place, tiny_folders, monkeypatch, changes, words, expected):
    monkeypatch.chdir(place)
    write_spec(place / "bad.yaml", entries("animals", tiny_folders["clip"], **changes))
    done = acclimate("bench", "bad.yaml", "--out", "nothing", "--device", "cpu", *words)
    assert done.code == 2
    assert expected in done.error
    assert not (place / "nothing").exists()


def test_the_plan_of_a_bench_whose_data_are_not_there(tmp_path):
    suites = [
        {"protocol": "few-shot", "data": ["cells", "rocks"], "shots": [1, 4]},
        {"protocol": "leave-one-domain-out", "data": "rocks"},
        {"protocol": "cross-dataset", "data": ["cells", "rocks"], "seeds": [1]},
        {"protocol": "cross-dataset", "data": ["cells", "rocks"], "options": {"sources": "cells"}, "seeds": [2]},
    ]
    data = {"cells": "gone/cells", "rocks": "rocks", "unused": "gone/too"}
    content = entries("x", "no-such-backbone", data=data, suites=suites, methods=["coop"])
    make_split_pictures(tmp_path / "rocks")
    words = ("bench", write_spec(tmp_path / "spec.yaml", content), "--dry-run")
    done = acclimate(*words)
    assert done.code == 0, done.err
    rows = [" ".join(line.split()).partition(", coop ")[2] for line in done.out.splitlines() if ", coop" in line]
    assert rows == ["1 x 2 x 2 4", "1 x 2 x 2 4", "? x 1 x 2 ?", "2 x 1 x 1 2", "1 x 1 x 1 1"]
    assert done.out.startswith("11 jobs, and those marked ?")
    assert f"data.cells: {tmp_path / 'gone/cells'} is not there" in done.out
    assert "data.rocks" not in done.out
    assert "unused" not in done.out
    known = acclimate(*words, "--json").json
    assert list(known["missing"]) == ["cells"]
    assert [row["jobs"] for row in known["plan"]] == [4, 4, None, 2, 1]
    assert acclimate(*words[:-1]).code == 2  # to run it, they must be there


def test_bad_files_and_folders(place, finished, tmp_path):
    def error(*words):
        done = acclimate("bench", *words, "--device", "cpu")
        assert done.code == 2
        return done.error

    assert "cannot read" in error(tmp_path / "missing.yaml")
    assert "torn.yaml line 1: not valid YAML" in error(write_spec(tmp_path / "torn.yaml", "a: ]"))
    assert "SPEC" in error()
    spec = place / "spec.yaml"
    assert "cannot make the folder" in error(spec, "--out", spec)
    assert "holds other files (such as animals)" in error(spec, "--out", place)
    with FileLock(finished[0] / ".lock"):
        assert f"another bench is running in {finished[0]}" in error(spec, "--out", finished[0])
    if not torch.cuda.is_available():
        assert "--device cuda: this machine" in acclimate("bench", spec, "--device", "cuda").error


def test_a_full_disk_for_the_results(place, finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "out")
    shutil.rmtree(out / "tables")
    with full_disk(100):
        done = acclimate("bench", place / "spec.yaml", "--out", out, "--device", "cpu")
    assert done.code == 2
    assert "free some space" in done.error
    assert "base-to-novel on animals" in done.out  # what is known is shown all the same


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(place, tmp_path):
    tmp_path.chmod(0o500)
    done = acclimate("bench", place / "spec.yaml", "--out", tmp_path / "out", "--device", "cpu")
    assert done.code == 2
    assert "cannot make the folder" in done.error


class Clock:
    """Time that goes on when it is told to."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(live, "time", clock)
    return clock


def drawn(jobs, tmp_path, processes=1, terminal=False, **options):
    console = Console(theme=THEME, file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    return LiveBench(jobs, tmp_path, processes, console=console, **options)


def shown(bench):
    """What stands on the console."""
    return bench.console.file.getvalue()


def test_the_time_that_is_left(tmp_path, clock):
    coop, zero = ([make_job(method, seed) for seed in range(1, 5)] for method in ("coop", "zero-shot"))
    other = [make_job("coop", seed, data="scans") for seed in (1, 2)]
    bench = drawn([*coop, *zero, *other], tmp_path, processes=2)
    assert bench.remaining() is None
    bench.started(coop[0])
    bench.finished(coop[0], 100.0)
    assert bench.remaining() == 9 * 100.0 / 2  # nothing better is known
    bench.started(zero[0])
    bench.finished(zero[0], 2.0)
    assert bench.remaining() == (3 * 100.0 + 3 * 2.0 + 2 * 100.0) / 2  # of the same method on other data
    bench.started(other[0])
    bench.finished(other[0], 10.0)
    assert bench.remaining() == (3 * 100.0 + 3 * 2.0 + 10.0) / 2
    bench.started(coop[1])
    clock.now += 40.0
    assert bench.remaining() == (60.0 + 2 * 100.0 + 3 * 2.0 + 10.0) / 2
    clock.now += 1000.0  # it takes longer than the others
    assert bench.remaining() == (2 * 100.0 + 3 * 2.0 + 10.0) / 2
    bench.failed(coop[1], ["broken"])
    bench.finished(coop[2], 120.0)  # the mean of 100 and 120
    assert bench.remaining() == max(110.0, (110.0 + 3 * 2.0 + 10.0) / 2)  # one job is never shared out
    for job in (coop[3], *zero[1:], other[1]):
        bench.finished(job, 1.0)
    assert bench.remaining() == 0.0


def test_lines_where_there_is_no_terminal(tmp_path, clock):
    jobs = [make_job("coop", seed) for seed in range(1, 21)]
    with drawn(jobs, tmp_path, processes=2) as bench:
        for number, job in enumerate(jobs):
            bench.started(job)
            bench.progressed(job, 0.5)
            if number == 2:
                bench.failed(job, ["broken"])
            else:
                bench.finished(job, 60.0)
    lines = shown(bench).splitlines()
    assert lines[0] == "20 jobs, 0 of them done before; 2 side by side"
    assert lines[1] == "2 of 20 jobs done, about 0:09:00 to go"
    assert lines[2] == "failed: coop, few-shot animals, 16 shots, seed 3"
    assert lines[3] == "4 of 20 jobs done, about 0:07:30 to go"
    assert len(lines) == 11


def test_nothing_is_drawn_when_it_is_to_be_quiet(tmp_path):
    for terminal in (False, True):
        with drawn([make_job()], tmp_path, terminal=terminal, quiet=True) as bench:
            bench.started(make_job())
            bench.failed(make_job(), ["broken"])
        assert shown(bench) == ""


def test_the_table_in_a_terminal(tmp_path, clock):
    jobs = [make_job(method, seed, data="ani[mals]") for method in ("coop", "zero-shot") for seed in (1, 2)]
    with drawn(jobs, tmp_path, terminal=True) as bench:
        bench.started(jobs[0])
        bench.finished(jobs[0], 3700.0)
        bench.failed(jobs[1], ["broken"])
        bench.started(jobs[2])
        bench.progressed(jobs[2], 0.25)
        clock.now += 75.0
        before = shown(bench)
        bench.live.refresh()
    text = shown(bench)[len(before) :]
    assert "protocol" in text
    row = next(line for line in text.splitlines() if "ani[mals]" in line and "few-shot" in line)
    assert row.split()[-5:] == ["ani[mals]", "1", "1", "1", "4"]
    assert "0:01:15 zero-shot, few-shot ani[mals], 16 shots, seed 1" in " ".join(text.split())
    assert "0:01:15 so far, about 2:02:05 to go" in text  # 3700 - 75 and 3700


def test_what_was_done_before_counts(tmp_path):
    jobs = [make_job(seed=seed) for seed in (1, 2)]
    place = jobs[0].folder(tmp_path)
    place.mkdir(parents=True)
    for name in ("record.json", "done"):
        (place / name).touch()
    with drawn(jobs, tmp_path) as bench:
        bench.finished(jobs[1], 1.0)
    assert shown(bench).splitlines() == [
        "2 jobs, 1 of them done before; 1 side by side",
        "2 of 2 jobs done, about 0:00:00 to go",
    ]


@linux
@pytest.mark.slow
def test_two_benches_side_by_side_from_an_empty_cache_leave_the_same_bytes(place, tiny_folders, tmp_path):
    """Two processes fill one cache at once, and each finds another half of it."""
    reads = [
        {"method": "zs-lp", "settings": {"epochs": 2, "views": 2}},
        {"method": "prolip", "settings": {"epochs": 2}},
    ]
    content = entries(str(place / "animals"), tiny_folders["clip"], methods=reads)
    spec, found = write_spec(tmp_path / "spec.yaml", content), []
    for attempt in ("one", "two"):
        out = tmp_path / attempt
        words = ("bench", spec, "--out", out, "--device", "cpu", "--jobs", 2)
        process = start(*words, env={"ACCLIMATE_CACHE": str(tmp_path / f"cache {attempt}")})
        said = process.communicate()
        assert process.returncode == 0, said
        found.append({path.relative_to(out): _without_times(path) for path in out.rglob("*") if _is_result(path)})
        assert rows_in(tmp_path / f"cache {attempt}/features") > 0
    one, two = found
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def _is_result(path):
    """Whether it is a file, and not the page, which has a table of seconds; all other figures in it are in others."""
    return path.is_file() and path.name != "results.md"


def _without_times(path):
    """The content of a file of a bench, without seconds and memory where it tells of any."""
    if path.name == "record.json":
        return {name: value for name, value in json.loads(path.read_text()).items() if name != "cost"}
    lines = path.read_bytes().splitlines()
    return [line for line in lines if b"second" not in line]
