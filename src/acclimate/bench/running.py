"""`run_bench`: plan, do what is missing, collect."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acclimate.bench.jobs import Job, load_source, plan
from acclimate.bench.pool import Observer, Pool
from acclimate.bench.scores import Score
from acclimate.bench.spec import Spec
from acclimate.errors import RunError
from acclimate.protocols.contract import METRICS
from acclimate.runs import folder
from acclimate.training.devices import resolve_device

logger = logging.getLogger("acclimate.bench")


@dataclass
class Outcome:
    """What a bench has given.

    Attributes:
        jobs: all jobs of the spec.
        scores: one for every figure of every finished job.
        failures: the jobs that failed in this start, with their last lines.
    """

    jobs: list[Job]
    scores: list[Score]
    failures: list[tuple[Job, Sequence[str]]] = field(default_factory=list)


def plan_bench(spec: Spec, device: str = "auto") -> list[Job]:
    """Load the data sets and backbones of a spec and return its jobs.

    Raises:
        AcclimateError: anything in it cannot be loaded or run; nothing has run then.
    """
    from acclimate.backbones import load_backbone

    used = {name for suite in spec.suites for name in suite.data}
    sets = {name: load_source(name, source) for name, source in spec.data.items() if name in used}
    torch_device = resolve_device(device)
    return plan(spec, {name: load_backbone(name, device=torch_device) for name in spec.backbones}, sets)


def run_bench(
    spec: Spec,
    jobs: Sequence[Job],
    out: Path,
    observer: Observer,
    processes: int = 1,
    device: str = "auto",
    cache_dir: Path | None = None,
) -> Outcome:
    """Do the jobs that are not done yet and collect the scores of all.

    Args:
        spec: the bench.
        jobs: its jobs, from `plan_bench`.
        out: folder of the bench; jobs lie in `out/jobs`.
        observer: told what becomes of the jobs.
        processes: local processes, 1 or more.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache, or none.
    """
    failures = _Failures(observer)
    missing = [job for job in jobs if not job.is_done(out)]
    if missing:
        Pool(spec.data, out, processes, device, cache_dir).run(missing, failures)
    return Outcome(list(jobs), collect(jobs, out), failures.list)


def collect(jobs: Sequence[Job], out: Path) -> list[Score]:
    """Return the scores of all finished jobs in a folder.

    Raises:
        RunError: a record is damaged.
    """
    return [score for job in jobs if job.is_done(out) for score in _scores(job, out)]


def _scores(job: Job, out: Path) -> list[Score]:
    path = job.folder(out) / folder.RECORD
    record = folder.read_json(path, f"delete the folder {path.parent} and start again")
    try:
        tests = dict(record["tests"])
        if record["metrics"] is not None:
            tests["test"] = record["metrics"]
        figures = job.protocol.figures(tests)
        cost: dict[str, float | None] = {
            "seconds": float(record["cost"]["seconds"].get(record["method"], 0.0)),
            "learned_parameters": float(record["cost"]["learned_parameters"]),
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: an entry is missing or wrong ({error}); delete the folder {path.parent} and start again"
        ) from None
    rows: list[tuple[str, str, float | None]] = [
        (column, metric, values[metric]) for column, values in figures.items() for metric in METRICS if metric in values
    ]
    first = next(iter(figures))
    rows += [(first, metric, value) for metric, value in cost.items()]
    return [score_of(job, column, metric, value) for column, metric, value in rows]


def score_of(job: Job, column: str, metric: str, value: float | None) -> Score:
    """Return one figure of a job as a row of the results."""
    content = job.content
    return Score(
        protocol=content["protocol"]["name"],
        selection=content["protocol"]["selection"],
        backbone=content["backbone"]["id"],
        data=content["trial"] if job.protocol.several_sets else job.data,
        trial=content["trial"],
        column=column,
        method=job.label,
        shots=str(content["shots"]),
        seed=content["seed"],
        metric=metric,
        value=value,
    )


class _Failures:
    """Keeps the failures and passes everything on."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.list: list[tuple[Job, Sequence[str]]] = []
        self.started, self.progressed, self.finished = observer.started, observer.progressed, observer.finished

    def failed(self, job: Job, lines: Sequence[str]) -> None:
        self.list.append((job, lines))
        self.observer.failed(job, lines)


def summary(jobs: Sequence[Job], out: Path) -> dict[str, Any]:
    """Return how many jobs there are and how many of them are done."""
    done = sum(job.is_done(out) for job in jobs)
    return {"jobs": len(jobs), "done": done, "missing": len(jobs) - done}
