"""Processes do jobs side by side; whoever dies takes its own job with it and nothing else."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from acclimate.bench.pool import Pool, threads_each
from acclimate.bench.site import Site
from tests.helpers.benches import COOP, Notes, children, cores, record
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc")

LONG = {**COOP, "label": "long", "settings": {**COOP["settings"], "epochs": 100_000}}  # never ends by itself


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The number of threads may decide the last bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.mark.parametrize(
    ("asked", "processes", "expected"),
    [
        (None, 1, cores()),
        (None, 2, max(1, cores() // 2)),
        (None, 1000, 1),
        ("1", 1, 1),
        ("999", 1, cores()),
        ("0", 1, 1),
        ("4,2", 1, cores()),
    ],
)
def test_cores_are_shared_out(monkeypatch, asked, processes, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_each(processes) == expected


class KillsOnce(Notes):
    """Kills the process of the long job as soon as that tells how far it is."""

    killed = False

    def progressed(self, job, share):
        super().progressed(job, share)
        if job.label == "long" and not self.killed:
            self.killed = True
            (worker,) = (pid for pid in children(os.getpid()) if job.hash in os.readlink(f"/proc/{pid}/fd/1"))
            os.kill(worker, signal.SIGKILL)


@pytest.mark.slow
def test_a_process_that_is_killed_fails_only_its_job(planned, spec, tmp_path, monkeypatch):
    wild = {**COOP, "label": "wild", "settings": {**COOP["settings"], "epochs": 6, "lr": 1e30}}
    changes = {"methods": [LONG, "zero-shot", wild], "seeds": 1}
    jobs, sources, out = planned(**changes), spec(**changes).data, tmp_path / "out"
    long, frozen, wild = jobs
    monkeypatch.delenv("OMP_NUM_THREADS")
    notes, before = KillsOnce(), children(os.getpid())
    Pool(2).run(Site(sources, out, "cpu"), jobs, notes)
    assert sorted(notes.begun) == sorted(job.hash for job in jobs)
    assert notes.ended == [frozen.hash]
    assert notes.broken[long.hash][-1] == "its process ended with signal 9, as when memory runs out"
    (line,) = notes.broken[wild.hash]
    assert "the loss is not finite in stage 'coop'" in line
    assert f"ERROR {line}" in (wild.folder(out) / "output.txt").read_text()
    assert [job.is_done(out) for job in jobs] == [False, True, False]
    assert record(frozen, out)["environment"]["threads"] == max(1, cores() // 2)
    assert children(os.getpid()) == before


@pytest.mark.parametrize(
    ("program", "said", "ended"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'", "code 1"),
        (
            "import os; os.write(2, b'no room'); os.kill(os.getpid(), 9)",
            "no room",
            "signal 9, as when memory runs out",
        ),
    ],
)
def test_what_a_process_says_before_its_first_job_is_not_lost(
    planned, spec, tmp_path, monkeypatch, capfd, program, said, ended
):
    monkeypatch.setattr("acclimate.bench.pool.WORKER", f"{program}  # {{path}}")
    jobs, notes = planned(seeds=1), Notes()
    Pool().run(Site(spec().data, tmp_path / "out", "cpu"), jobs, notes)
    assert set(notes.broken) == {job.hash for job in jobs}
    *_, last, end = notes.broken[jobs[0].hash]
    assert last == said
    assert end == f"its process ended with {ended}"
    assert capfd.readouterr() == ("", "")


def test_a_job_is_tried_again_as_often_as_asked_on_the_threads_that_it_asks_for(planned, spec, tmp_path, monkeypatch):
    program = "import os; os.write(2, os.environ['OMP_NUM_THREADS'].encode()); os._exit(3)"
    monkeypatch.setattr("acclimate.bench.pool.WORKER", f"{program}  # {{path}}")
    own = {"method": "zero-shot", "resources": {"cpus": 3}}
    jobs, notes = planned(methods=[own, COOP], seeds=1), Notes()
    Pool(2, retries=2).run(Site(spec().data, tmp_path / "out", "cpu"), jobs, notes)
    assert [notes.broken[job.hash] for job in jobs] == [[said, "its process ended with code 3"] for said in "31"]
    assert [len(notes.again[job.hash]) for job in jobs] == [2, 2]
    assert sorted(notes.begun) == sorted([job.hash for job in jobs] * 3)


class Fails(Notes):
    """Cannot write down what it is told."""

    def started(self, job):
        raise OSError("no room for notes")


def test_an_error_of_the_observer_ends_the_bench(planned, spec, tmp_path):
    before, processes = threading.active_count(), children(os.getpid())
    with pytest.raises(OSError, match="no room for notes"):
        Pool(2).run(Site(spec().data, tmp_path / "out", "cpu"), planned(), Fails())
    wait_until(
        lambda: children(os.getpid()) == processes and threading.active_count() <= before, "end of workers and threads"
    )
