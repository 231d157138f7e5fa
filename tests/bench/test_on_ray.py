"""The jobs of a bench on a Ray cluster, of which a machine is lost in the midst."""

from __future__ import annotations

import os
import sys

import pytest

from acclimate.bench import collect
from acclimate.bench.site import Site
from acclimate.bench.work import Worker
from acclimate.scaling.cluster import Cluster
from acclimate.scaling.sweep import RayTasks
from tests.helpers.benches import COOP, Notes, children, entries, is_alive, write_spec
from tests.helpers.clusters import lose, machines, raylet
from tests.helpers.command import interrupted
from tests.helpers.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc"),
]

LONG = {**COOP, "settings": {**COOP["settings"], "epochs": 60}}


class LosesTheWorker(Notes):
    """Ends the second machine as soon as a job there tells how far it is."""

    def __init__(self, worker):
        super().__init__()
        self.worker, self.lost = worker, None

    def progressed(self, job, share):
        super().progressed(job, share)
        if self.lost is None and any(job.hash in stdout(pid) for pid in children(raylet(self.worker))):
            self.lost = job.hash
            lose(self.worker)


def stdout(pid):
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""


def test_a_sweep_ends_right_though_a_machine_is_lost(planned, spec, tmp_path, one_thread):
    changes = {"methods": [LONG], "seeds": [1, 2, 3]}
    jobs, sources, out = planned(**changes), spec(**changes).data, tmp_path / "out"
    (out / "jobs").mkdir(parents=True)
    with machines() as (address, worker), Cluster(address) as cluster:
        notes = LosesTheWorker(worker)
        tasks = RayTasks(cluster)
        assert tasks.slots(jobs) == 2
        tasks.run(Site(sources, out, "cpu"), jobs, notes)
    assert list(notes.again) == [notes.lost]
    assert notes.broken == {}
    assert sorted(notes.ended) == sorted(job.hash for job in jobs)

    there = tmp_path / "here"
    alone = Worker(sources, there, "cpu", None)
    for job in jobs:
        alone.run(job)
        one, two = (job.folder(place) / "adapter.safetensors" for place in (out, there))
        assert one.read_bytes() == two.read_bytes()
    rows = [[score for score in collect(jobs, place) if score.metric != "seconds"] for place in (out, there)]
    assert rows[0] == rows[1]
    assert len(rows[0]) > len(jobs)


def test_interrupted_on_a_cluster_of_its_own(animals, tiny_folders, tmp_path):
    forever = {**COOP, "settings": {**COOP["settings"], "epochs": 100_000}}
    spec = write_spec(tmp_path / "spec.yaml", entries(animals, tiny_folders["clip"], methods=[forever], seeds=[1]))
    out, before, begun = tmp_path / "out", {*children(os.getpid())}, set()

    def learning():
        begun.update({*children(os.getpid())} - before)
        return any(path.stat().st_size for path in (out / "jobs").glob("*/log.jsonl"))

    words = ("bench", spec, "--launcher", "ray", "--out", out, "--device", "cpu", "--no-cache", "--quiet")
    done = interrupted(learning, *words)
    assert (done.code, done.out) == (130, "")
    assert done.error == "error: interrupted; 0 of 1 jobs are done; the same command goes on from there"
    assert len(begun) > 1
    wait_until(lambda: not any(map(is_alive, begun)), "end of Ray's processes")
