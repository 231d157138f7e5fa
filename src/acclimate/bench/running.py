"""`run_bench`: plan, do what is missing, collect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from acclimate.backbones.backbone import as_dual
from acclimate.bench.entries import at
from acclimate.bench.jobs import Job, load_source, plan
from acclimate.bench.launching import Launcher, Observer
from acclimate.bench.pool import Pool
from acclimate.bench.scores import RUN, Score
from acclimate.bench.site import Site
from acclimate.bench.spec import Spec
from acclimate.errors import RunError
from acclimate.files import claimed, read_json
from acclimate.runs import folder
from acclimate.runs.encoders import open_backbone
from acclimate.training.devices import resolve_device


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
    resolve_device(device)  # it must be there; the processes use it, this one needs no more than a look at the weights
    with at(spec.path):
        used = {name for suite in spec.suites for name in suite.data}
        sets = {name: load_source(name, source) for name, source in spec.data.items() if name in used}
        with at("backbones"):
            backbones = {name: open_backbone(name, torch.device("cpu")) for name in spec.backbones}
        with at("scorer"):
            scorer = None if spec.scorer is None else as_dual(open_backbone(spec.scorer, torch.device("cpu")), "scorer")
        return plan(spec, backbones, sets, scorer)


def run_bench(
    spec: Spec,
    jobs: Sequence[Job],
    out: Path,
    observer: Observer,
    launcher: Launcher | None = None,
    device: str = "auto",
    cache_dir: Path | None = None,
    plugins: Sequence[str] = (),
) -> Outcome:
    """Do the jobs that are not done yet and collect the scores of all.

    Args:
        spec: the bench.
        jobs: its jobs, from `plan_bench`.
        out: folder of the bench; jobs lie in `out/jobs`.
        observer: told what becomes of the jobs.
        launcher: who does the jobs; by default one local process.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache, or none.
        plugins: what `load_plugin` returned for modules with methods, which each process imports.

    Raises:
        RunError: `out` cannot be used, or another bench is running there; or a record is damaged.
    """
    failures = _Failures(observer)
    _make_folder(out)
    with claimed(out, f"another bench is running in {out}; wait for its end, or name another `out`"):
        missing = [job for job in jobs if not job.is_done(out)]
        if missing:
            site = Site(spec.data, out, device, cache_dir, plugins)
            (launcher or Pool()).run(site, missing, failures)
        return Outcome(list(jobs), collect(jobs, out), failures.list)


def collect(jobs: Sequence[Job], out: Path) -> list[Score]:
    """Return the scores of all finished jobs in a folder.

    Raises:
        RunError: a record is damaged.
    """
    return [score for job in jobs if job.is_done(out) for score in _scores(job, out)]


def _make_folder(out: Path) -> None:
    """Make the folder of a bench, or accept the one that is there.

    Raises:
        RunError: it holds something else, or cannot be made.
    """
    try:
        present = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
        if present and "jobs" not in present:
            raise RunError(f"{out} holds other files (such as {min(present)}); name a new or empty folder with `out`")
        (out / "jobs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {out}: {error.strerror}; choose another `out`") from None


def _scores(job: Job, out: Path) -> list[Score]:
    path = job.folder(out) / folder.RECORD
    again = f"delete the folder {path.parent} and start again"
    record = read_json(path, again)
    try:
        rows = _figures(job, record)
        rows.append((RUN, "seconds", float(record["cost"]["seconds"].get(record["method"], 0.0))))
        rows.append((RUN, "learned_parameters", float(record["cost"]["learned_parameters"])))
        ablations = {name: _figures(job, one) for name, one in record.get("ablations", {}).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path}: an entry is missing or wrong ({error}); {again}") from None
    parts = {job.label: rows} | {f"{job.label}, {name}": figures for name, figures in ablations.items()}
    return [
        Score(**job.run._replace(method=label)._asdict(), column=column, metric=metric, value=value)
        for label, figures in parts.items()
        for column, metric, value in figures
    ]


def _figures(job: Job, measured: Mapping[str, Any]) -> list[tuple[str, str, float | None]]:
    """Return the figures in a record, or of one of its ablations, each with its column and its metric."""
    tests = dict(measured["tests"])
    if measured["metrics"] is not None:
        tests["test"] = measured["metrics"]
    figures = job.protocol.figures(tests)
    return [(column, name, value) for column, values in figures.items() for name, value in values.items()]


class _Failures:
    """Keeps the failures and passes everything on."""

    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.list: list[tuple[Job, Sequence[str]]] = []
        self.started, self.progressed, self.finished = observer.started, observer.progressed, observer.finished
        self.repeated = observer.repeated

    def failed(self, job: Job, lines: Sequence[str]) -> None:
        self.list.append((job, lines))
        self.observer.failed(job, lines)
