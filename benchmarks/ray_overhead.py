"""What Ray costs a sweep on one machine: the same jobs in local processes and as Ray tasks, in turns.

Both ways run two jobs side by side on one thread each. Measured are the seconds of the whole command, its start and the
loading of data and encoders among them, and the CPU seconds of it and of every process below it, Ray's own among them.
On a machine that does other work as well, the seconds tell little, and the CPU seconds are what counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from acclimate.bench.scores import read_scores
from acclimate.synthetic import write_dataset
from measuring import write_record

WAYS: dict[str, tuple[str, ...]] = {"local": ("--jobs", "2"), "ray": ("--launcher", "ray", "--jobs", "2")}
LOOK = 0.1  # seconds between two looks at the processes


def write_spec(folder: Path, jobs: int, epochs: int) -> Path:
    """Write a spec of so many jobs on the images of a folder, and return its file."""
    method = {"method": "coop", "settings": {"epochs": epochs}}
    spec = {
        "backbones": ["mini-clip"],
        "data": {"rocks": {"path": str(folder / "rocks"), "domain": "thin_section"}},
        "shots": 4,
        "seeds": [*range(1, jobs + 1)],
        "methods": [method],
        "resources": {"cpus": 1},
        "suites": [{"protocol": "few-shot", "data": "rocks"}],
    }
    file = folder / f"spec-{jobs}-{epochs}.yaml"
    file.write_text(yaml.safe_dump(spec), encoding="utf-8")
    return file


def sweep(spec: Path, out: Path, *words: str) -> dict[str, float]:
    """Run a bench, and return its `seconds` and `cpu_seconds`."""
    command = [sys.executable, "-m", "acclimate", "bench", spec, "--out", out, "--device", "cpu", "--quiet", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCLIMATE_CACHE": str(spec.parent / "cache")}
    started, spent = time.monotonic(), dict[tuple[int, float], float]()
    process = psutil.Popen([*map(str, command)], env=environment, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        note(process, spent)
        time.sleep(LOOK)
    if process.returncode:
        raise SystemExit(f"the bench ended with code {process.returncode}")
    return {"seconds": time.monotonic() - started, "cpu_seconds": sum(spent.values())}


def note(process: psutil.Process, spent: dict[tuple[int, float], float]) -> None:
    """Note what a process and all below it have spent so far; those that have ended keep what was seen last."""
    try:
        for one in [process, *process.children(recursive=True)]:
            try:
                times = one.cpu_times()
                spent[one.pid, one.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
    except psutil.NoSuchProcess:
        return


def figures(out: Path) -> list[Any]:
    """Return what a bench has measured, times aside, and refuse an unfinished one."""
    return [score for score in read_scores(out / "results.csv") if score.metric != "seconds"]


def job_seconds(out: Path) -> float:
    """Return the mean time that a job has learned for, in seconds."""
    return statistics.mean(
        score.value or 0.0 for score in read_scores(out / "results.csv") if score.metric == "seconds"
    )


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print what Ray costs beside local processes, as a share of the medians, and write the record."""
    measures = ("seconds", "cpu_seconds")
    medians = {
        way: {what: statistics.median(row[what] for row in rows if row["way"] == way) for what in measures}
        for way in WAYS
    }
    overhead = {what: medians["ray"][what] / medians["local"][what] - 1 for what in measures}
    print(json.dumps(overhead), flush=True)
    if options.out:
        command = f"python benchmarks/ray_overhead.py --jobs {options.jobs} --epochs {options.epochs}"
        command += f" --turns {options.turns}"
        what = (
            "a sweep in local processes and on a Ray cluster of the same machine; results equal; load: before it began"
        )
        write_record(options.out, command, what, rows, medians=medians, overhead=overhead, remark=options.remark)


def main() -> None:
    """Measure, print, and write the record after every turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=8, help="of a sweep")
    parser.add_argument("--epochs", type=int, default=700, help="of a job; about 20 s")
    parser.add_argument("--turns", type=int, default=3, help="sweeps of each way")
    parser.add_argument("--remark", default="", help="kept in the record, such as what else the machine was doing")
    parser.add_argument("--out", type=Path, help="JSON record to write")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset("thin_section", folder / "rocks", per_class=12, size=64, acquisitions=["plane_polarised"])
        sweep(write_spec(folder, 1, 1), folder / "warm")  # fills the cache of features
        spec = write_spec(folder, options.jobs, options.epochs)
        for turn in range(options.turns):
            order = [*WAYS] if turn % 2 == 0 else [*reversed(WAYS)]
            for way in order:
                out = folder / f"{way}-{turn}"
                load = os.getloadavg()[0]
                rows.append({"way": way, "turn": turn, **sweep(spec, out, *WAYS[way])})
                rows[-1] |= {"job_seconds": job_seconds(out), "load": load}
                print(json.dumps(rows[-1]), flush=True)
                if figures(out) != figures(folder / f"{order[0]}-{turn}"):
                    raise SystemExit("the two ways differ in their results")
            report(rows, options)


if __name__ == "__main__":
    main()
