"""What does jobs side by side, whoever does them, and who is told of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from acclimate.bench.jobs import Job
from acclimate.bench.site import Site

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What tells the libraries of a process on how many threads to compute."""


class Observer(Protocol):
    """Told what becomes of jobs, from several threads but never from two at once."""

    def started(self, job: Job) -> None:
        """A process has taken the job."""

    def progressed(self, job: Job, share: float) -> None:
        """A share of its current task, 0 to 1, is done."""

    def finished(self, job: Job, seconds: float) -> None:
        """It is done."""

    def repeated(self, job: Job, lines: Sequence[str]) -> None:
        """It failed and will be tried again; `lines` are the last that it said."""

    def failed(self, job: Job, lines: Sequence[str]) -> None:
        """It failed for good; `lines` are the last that it said."""


class Launcher(Protocol):
    """Does the jobs of a bench: in processes of this machine, or on many."""

    def slots(self, jobs: Sequence[Job]) -> int:
        """Return how many of these jobs run side by side, as far as that is known before they run; 1 or more."""
        ...

    def run(self, site: Site, jobs: Sequence[Job], observer: Observer) -> None:
        """Do all jobs; those that fail are reported, and the others go on.

        Args:
            site: where they find what they need.
            jobs: what to do.
            observer: told what becomes of them; what it raises ends the bench.
        """
        ...


class Tries:
    """Counts how often things were tried, such as jobs by their hash.

    Args:
        retries: how often each may be tried again.
    """

    def __init__(self, retries: int) -> None:
        self.retries, self._failures = retries, Counter[str]()

    def again(self, name: str) -> bool:
        """Count a failure, and return whether it is tried again."""
        self._failures[name] += 1
        return self._failures[name] <= self.retries


def threads_of(job: Job, usual: int) -> int:
    """Return on how many threads a job computes: as many as the cores that it asks for, or the usual number."""
    return job.resources.cpus or usual
