"""Small benches: generated pictures, a tiny backbone, methods that take a second."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from acclimate.bench import Job

COOP = {"method": "coop", "settings": {"epochs": 2, "context_tokens": 2, "batch_size": 8}}


def entries(folder: Path, backbone: Path, /, **changes: Any) -> dict[str, Any]:
    """The entries of a spec with four quick jobs, and what is changed of them."""
    return {
        "backbones": [str(backbone)],
        "data": {"animals": {"path": str(folder), "domain": "natural"}},
        "shots": 2,
        "seeds": [1, 2],
        "methods": ["zero-shot", COOP],
        "suites": [{"protocol": "few-shot", "data": "animals"}],
        **changes,
    }


def write_spec(path: Path, content: Any) -> Path:
    """Write a spec; text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def make_job(method: str = "coop", seed: int = 1, data: str = "animals", **changes: Any) -> Job:
    """A job that nobody runs."""
    facts = {"images": "0" * 16, "listing": "2" * 16, "domain": "natural", "names": {}, "prompts": "1" * 16}
    content = {
        "format": 1,
        "protocol": {"name": "few-shot", "selection": "last-step"},
        "data": {data: facts},
        "trial": data,
        "shots": 16,
        "seed": seed,
        "method": method,
        "config": {"lr": 2e-3, "select": "last"},
        "backbone": {"fingerprint": "f" * 32, "transform": "e" * 32},
        "precision": "auto",
    }
    return Job({**content, **changes}, label=method, backbone="mini-clip")


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.shares: list[float] = []
        self.ended: list[str] = []
        self.again: dict[str, list[str]] = {}
        self.broken: dict[str, list[str]] = {}

    def started(self, job: Job) -> None:
        self.begun.append(job.hash)

    def progressed(self, job: Job, share: float) -> None:
        self.shares.append(share)

    def finished(self, job: Job, seconds: float) -> None:
        self.ended.append(job.hash)

    def repeated(self, job: Job, lines: list[str]) -> None:
        self.again.setdefault(job.hash, []).append(lines[-1])

    def failed(self, job: Job, lines: list[str]) -> None:
        self.broken[job.hash] = list(lines)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are alive, on Linux."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return [child for child in found if is_alive(child)]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked how does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """When the files of all jobs in a bench were written, and which files they are."""
    files = sorted((out / "jobs").glob("*/*"))
    return {f"{path.parent.name}/{path.name}": (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def figures(out: Path) -> list[str]:
    """The rows of results.csv without the times."""
    return [line for line in (out / "results.csv").read_text().splitlines() if ",seconds," not in line]


def record(job: Job, out: Path) -> Any:
    """The record of a job."""
    return json.loads((job.folder(out) / "record.json").read_text())


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
