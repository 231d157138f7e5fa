"""The live table of a bench: what is done, what runs, how long it will take."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from acclimate.cli.console import err, show_line
from acclimate.cli.layout import Sheet, figures
from acclimate.cli.terminal import escape
from acclimate.counting import counted

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
        console: where to draw.
    """

    def __init__(
        self, jobs: Sequence[Job], out: Path, processes: int, quiet: bool = False, console: Console = err
    ) -> None:
        self.jobs, self.processes, self.quiet, self.console = list(jobs), processes, quiet, console
        self.hashes = [job.hash for job in self.jobs]
        self.before = {key for key, job in zip(self.hashes, self.jobs, strict=True) if job.is_done(out)}
        self.done, self.broken = set(self.before), set[str]()
        self.running: dict[str, tuple[Job, float, float]] = {}  # job, when it started, share of its current task
        self.seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self.began = time.monotonic()
        self.said = len(self.done)
        self.lock = RLock()  # the table is drawn by a thread of its own
        self.live = Live(get_renderable=self.render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> LiveBench:
        self._say(
            f"{counted(len(self.jobs), 'job')}, {len(self.before)} of them done before; {self.processes} side by side"
        )
        if not self.quiet and self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live.is_started:
            self.live.stop()

    def started(self, job: Job) -> None:
        """Show a job as running."""
        with self.lock:
            self.running[job.hash] = (job, time.monotonic(), 0.0)

    def progressed(self, job: Job, share: float) -> None:
        """Show how far its current task is."""
        with self.lock:
            _, since, _ = self.running[job.hash]
            self.running[job.hash] = (job, since, share)

    def finished(self, job: Job, seconds: float) -> None:
        """Count a job as done."""
        with self.lock:
            self.running.pop(job.hash, None)
            self.done.add(job.hash)
            self.seconds[_kind(job)].append(seconds)
            if len(self.done) - self.said >= max(1, LINES * len(self.jobs)):
                self.said = len(self.done)
                self._line(f"{len(self.done)} of {len(self.jobs)} jobs done{self._rest()}")

    def repeated(self, job: Job, lines: Sequence[str]) -> None:
        """Show a job as waiting again, and say why."""
        with self.lock:
            self.running.pop(job.hash, None)
            self._note(f"tried again: {job.describe()} ({escape(lines[-1]) if lines else 'it said nothing'})")

    def failed(self, job: Job, lines: Sequence[str]) -> None:
        """Count a job as failed; its lines are shown at the end."""
        with self.lock:
            self.running.pop(job.hash, None)
            self.broken.add(job.hash)
            self._line(f"failed: {job.describe()}")

    def remaining(self) -> float | None:
        """Return the expected seconds to the end; none before the first job is done.

        A job takes as long as the finished ones of its method, protocol and data; else of its method; else of all.
        """
        with self.lock:
            known = [value for values in self.seconds.values() for value in values]
            if not known:
                return None
            left = [0.0]
            for key, job in zip(self.hashes, self.jobs, strict=True):
                if key in self.done or key in self.broken:
                    continue
                expected = self._expected(_kind(job), known)
                if key in self.running:
                    expected = max(0.0, expected - (time.monotonic() - self.running[key][1]))
                left.append(expected)
            return max(sum(left) / self.processes, *left)  # no job is shared out

    def _expected(self, kind: tuple[str, ...], known: Sequence[float]) -> float:
        like = self.seconds.get(kind) or [
            value for other, values in self.seconds.items() if other[0] == kind[0] for value in values
        ]
        return sum(like or known) / len(like or known)

    def render(self) -> RenderableType:
        """Return the table as it stands."""
        with self.lock:
            groups: dict[tuple[str, str], Counter[str]] = {}
            for key, job in zip(self.hashes, self.jobs, strict=True):
                counts = groups.setdefault((job.content["protocol"]["name"], job.data), Counter())
                counts["all"] += 1
                counts["done"] += key in self.done
                counts["failed"] += key in self.broken
                counts["running"] += key in self.running
            sheet = Sheet(["protocol, data", "done", "failed", "running", "of"])
            for group, counts in groups.items():
                cells = (str(counts[name]) for name in ("done", "failed", "running", "all"))
                sheet.add(", ".join(group), *cells, style="error" if counts["failed"] else "")
            now = Table(box=None, pad_edge=False, show_header=False)
            for _ in range(3):
                now.add_column(no_wrap=True)
            for job, since, share in self.running.values():
                bar = ProgressBar(1.0, share, width=16)
                now.add_row(bar, _clock(time.monotonic() - since), escape(job.describe()))
            shown = figures(sheet, self.console.width)
            return Group(*shown, now, f"[note]{_clock(time.monotonic() - self.began)} so far{self._rest()}[/]")

    def _rest(self) -> str:
        left = self.remaining()
        return "" if left is None else f", about {_clock(left)} to go"

    def _line(self, text: str) -> None:
        if not self.live.is_started:
            self._say(text)

    def _note(self, text: str) -> None:
        """Write a line that stays, also above a live table."""
        if self.live.is_started:
            self.live.console.print(f"[note]{text}[/]", soft_wrap=True)
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        if not self.quiet:
            show_line(self.console, text, "note")


def _kind(job: Job) -> tuple[str, ...]:
    return (job.label, job.content["protocol"]["name"], job.data)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
