"""The live table of a bench: what is done, what runs, how long it will take."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from acclimate.cli.console import err
from acclimate.cli.tables import table

if TYPE_CHECKING:
    from acclimate.bench import Job

LINES = 0.1  # share of the jobs after which a line is written where there is no terminal


class LiveBench:
    """Draws the state of a bench on standard error; a line now and then where that is not a terminal.

    Args:
        jobs: all jobs.
        out: folder of the bench.
        processes: how many jobs run side by side.
        quiet: draw nothing.
    """

    def __init__(self, jobs: Sequence[Job], out: Path, processes: int, quiet: bool = False) -> None:
        self.jobs, self.processes = list(jobs), processes
        self.before = {job.hash for job in jobs if job.is_done(out)}
        self.done, self.broken = set(self.before), set[str]()
        self.running: dict[str, tuple[Job, float, float]] = {}  # job, when it started, share of its current task
        self.seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.began = time.monotonic()
        self.silent = quiet
        self.said = len(self.done)
        self.live = Live(get_renderable=self.render, console=err, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveBench:
        if not self.silent:
            err.print(
                f"[note]{len(self.jobs)} jobs, {len(self.before)} of them done before; {self.processes} side by side[/]"
            )
        if not self.silent and err.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live.is_started:
            self.live.stop()

    def started(self, job: Job) -> None:
        """Show a job as running."""
        self.running[job.hash] = (job, time.monotonic(), 0.0)

    def progressed(self, job: Job, share: float) -> None:
        """Show how far its current task is."""
        _, since, _ = self.running[job.hash]
        self.running[job.hash] = (job, since, share)

    def finished(self, job: Job, seconds: float) -> None:
        """Count a job as done."""
        self.running.pop(job.hash, None)
        self.done.add(job.hash)
        self.seconds[_kind(job)].append(seconds)
        self._line()

    def failed(self, job: Job, lines: Sequence[str]) -> None:
        """Count a job as failed; its lines are shown at the end."""
        self.running.pop(job.hash, None)
        self.broken.add(job.hash)

    def remaining(self) -> float | None:
        """Return the expected seconds to the end; none before the first job is done.

        A job takes as long as the finished ones of its method, protocol and data; else of its method; else of all.
        """
        known = [value for values in self.seconds.values() for value in values]
        if not known:
            return None
        total = 0.0
        for job in self.jobs:
            if job.hash in self.done or job.hash in self.broken:
                continue
            kind = _kind(job)
            like = self.seconds.get(kind) or [
                value for other, values in self.seconds.items() if other[0] == kind[0] for value in values
            ]
            expected = sum(like or known) / len(like or known)
            if job.hash in self.running:
                expected = max(0.0, expected - (time.monotonic() - self.running[job.hash][1]))
            total += expected
        return total / self.processes

    def render(self) -> RenderableType:
        """Return the table as it stands."""
        groups: dict[tuple[str, str], Counter[str]] = {}
        for job in self.jobs:
            counts = groups.setdefault((job.content["protocol"]["name"], job.data), Counter())
            counts["all"] += 1
            counts["done"] += job.hash in self.done
            counts["failed"] += job.hash in self.broken
            counts["running"] += job.hash in self.running
        shown = table("protocol", "data", "done", "failed", "running", "of")
        for (protocol, data), counts in groups.items():
            cells = (str(counts[name]) for name in ("done", "failed", "running", "all"))
            shown.add_row(protocol, escape(data), *cells, style="error" if counts["failed"] else "")
        now = Table(box=None, pad_edge=False, show_header=False)
        for job, since, share in list(self.running.values()):
            now.add_row(
                ProgressBar(1.0, share, width=16), f"{_clock(time.monotonic() - since)}", escape(job.describe())
            )
        left = self.remaining()
        rest = "" if left is None else f", about {_clock(left)} to go"
        return Group(shown, now, f"[note]{_clock(time.monotonic() - self.began)} so far{rest}[/]")

    def _line(self) -> None:
        if self.silent or self.live.is_started or len(self.done) - self.said < max(1, LINES * len(self.jobs)):
            return
        self.said = len(self.done)
        left = self.remaining()
        rest = "" if left is None else f", about {_clock(left)} to go"
        err.print(f"[note]{len(self.done)} of {len(self.jobs)} jobs done{rest}[/]")


def _kind(job: Job) -> tuple[str, ...]:
    return (job.label, job.content["protocol"]["name"], job.data)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
