"""What a cluster is asked for, and what is said where there is none."""

from __future__ import annotations

import sys

import pytest

from acclimate.bench.resources import Resources
from acclimate.errors import AcclimateError
from acclimate.scaling.cluster import Cluster, enter, options
from tests.helpers.command import acclimate


def test_ray_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(AcclimateError, match=r"cannot import 'ray' .* `pip install 'acclimate\[ray\]'`$"), Cluster():
        pass


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("nowhere", r"^`address='nowhere'`: give HOST:PORT, such as 10\.0\.0\.1:6379, or auto$"),
        ("127.0.0.1:x", r"^`address='127\.0\.0\.1:x'`: give HOST:PORT"),
        ("127.0.0.1:1", r"^nobody answers at 127\.0\.0\.1:1 \(Connection refused\); `address` is what `ray start` has"),
    ],
)
def test_an_address_without_a_cluster_is_one_line_at_once(address, expected):
    with pytest.raises(AcclimateError, match=expected), Cluster(address):
        pass


@pytest.mark.parametrize(
    ("asked", "omp", "expected"),
    [
        (Resources(), None, (1, 0, None, "1")),
        (Resources(), "3", (1, 0, None, "3")),
        (Resources(cpus=2, gpus=0.5, memory=10**9), "3", (2, 0.5, 10**9, "2")),
    ],
)
def test_a_task_has_the_threads_of_its_cores(monkeypatch, asked, omp, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    told = options(asked)
    threads = told["runtime_env"]["env_vars"]
    assert (told["num_cpus"], told["num_gpus"], told["memory"], threads["OMP_NUM_THREADS"]) == expected
    assert len({*threads.values()}) == 1


def test_a_machine_that_cannot_take_part_says_why(tmp_path, monkeypatch):
    import acclimate as package

    monkeypatch.chdir(tmp_path)
    with pytest.raises(AcclimateError, match=r"^acclimate is .* here, and 0\.0\.1 where the command was given$"):
        enter(str(tmp_path), "0.0.1")
    with pytest.raises(AcclimateError, match=r"gone: No such file or directory; start in a folder that all machines"):
        enter(str(tmp_path / "gone"), package.__version__)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bench", "spec.yaml", "--address", "auto"), "--address auto is for a Ray cluster; add --launcher ray, or"),
        (("predict", "run", "a.png", "--rows", "5"), "--rows 5 is for a Ray cluster; add --launcher ray, or leave it"),
        (("predict", "run", "a.png", "--launcher", "ray"), "writes a folder of Parquet files; name it with --out"),
        (
            ("predict", "run", "a.png", "--launcher", "ray", "--out", "x", "--adapt-to-folder"),
            "--adapt-to-folder needs all images in one process; leave it or --launcher ray out",
        ),
        (
            ("predict", "run", "a.png", "--launcher", "ray", "--out", "x", "--gpus", "1.5"),
            "give whole GPUs or a share of one, such as 0.25, not 1.5",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(tmp_path, monkeypatch, words, expected):
    monkeypatch.chdir(tmp_path)
    done = acclimate(*words)
    assert done.code == 2
    assert expected in done.error
    assert not [*tmp_path.iterdir()]
