"""Prediction on a Ray cluster: killed, started again and with a machine lost, it says what one process says."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import acclimate
from acclimate.bench.resources import Resources
from acclimate.scaling.cluster import Cluster
from acclimate.scaling.predicting import predict_on
from acclimate.training.progress import Silent
from tests.helpers.benches import children
from tests.helpers.clusters import lose, machines, raylet
from tests.helpers.command import start
from tests.helpers.pictures import picture
from tests.helpers.shards import pictures, write_shard
from tests.helpers.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at /proc"),
]

ROWS, IMAGES = 4, 30
STREAM = {"batch_size": 4, "coverage": None, "known": 0.05, "hierarchy": None, "floor": 0.8, "precision": "fp32"}


@pytest.fixture
def sources(tmp_path):
    """A folder of large images, one of which is none; a list of two; a shard of three."""
    place = tmp_path / "new"
    place.mkdir()
    large = picture(0, 0).resize((2400, 2400), 0)
    large.save(place / "000.png", compress_level=1)
    for number in range(1, IMAGES):
        os.link(place / "000.png", place / f"{number:03}.png")
    (place / "broken.png").write_bytes(b"no image")
    for number in range(2):
        picture(1, number).save(tmp_path / f"{number}.png")
    pq.write_table(pa.table({"path": ["0.png", "1.png"]}), tmp_path / "list.parquet")
    return [place, tmp_path / "list.parquet", write_shard(tmp_path / "a.tar", pictures(1))]


class LosesTheWorker(Silent):
    """Ends the second machine as soon as an actor there is at a part."""

    def __init__(self, worker):
        self.worker, self.lost = worker, False

    def advance(self, amount=1, **figures):
        if not self.lost and any(b"Labeller.label" in title(pid) for pid in children(raylet(self.worker))):
            self.lost = True
            lose(self.worker)


def title(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def parts(out):
    return {file.name: file.stat().st_mtime_ns for file in out.glob("part-*.parquet")}


def test_killed_and_started_again_with_a_machine_lost(run, sources, tmp_path, caplog, capfd):
    out, words = tmp_path / "out", ("--rows", ROWS, "--batch-size", 4, "--cpus", 1, "--device", "cpu", "--quiet")
    with machines() as (address, worker):
        how = ("--launcher", "ray", "--address", address)
        process = start("predict", run, *sources, "--out", out, *how, *words)
        wait_until(lambda: parts(out), "finished part", process)
        process.kill()
        process.communicate()
        assert json.loads((out / "_manifest.json").read_text())["complete"] is False
        with Cluster(address) as cluster, caplog.at_level(logging.WARNING, "acclimate"):
            before, progress = parts(out), LosesTheWorker(worker)
            load = {"backbone": None, "domain_encoder": None, "swap": False, "classes_of": None, "bands": None}
            how = {"load": {**load, "device": "cpu"}, "stream": STREAM, "rows": ROWS, "asked": Resources(cpus=1)}
            found = predict_on(cluster, run, sources, out, progress, **how)
    assert progress.lost
    assert "raylet" not in "".join(capfd.readouterr())
    assert "is tried again (" in caplog.text
    assert found.before >= len(before) > 0  # what an actor was at when its master died may have been written yet
    assert {name: parts(out)[name] for name in before} == before

    told = json.loads((out / "_manifest.json").read_text())
    assert (told["complete"], told["rows"], told["unread"]) == (True, IMAGES + 1 + 2 + 3, 1)
    assert (found.rows, found.unread, found.parts, found.failures) == (told["rows"], 1, len(told["parts"]), [])
    rows = [row for part in told["parts"] for row in pq.read_table(out / part["file"]).to_pylist()]
    alone = acclimate.load(run, device="cpu")
    expected = list(alone.stream(sources, 4, "skip"))
    assert [row["path"] for row in rows] == [one.path for one in expected]
    assert [row["label"] for row in rows] == [one.label for one in expected]
    assert sum("it is not an image" in row["error"] for row in rows) == 1
    near = [row["probability"] for row in rows if not row["error"]]
    np.testing.assert_allclose(near, [one.probability for one in expected if not one.error], atol=1e-6)
    assert pq.read_table(out, columns=["label"]).num_rows == told["rows"]  # the folder is one table to its readers
