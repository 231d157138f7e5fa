"""Progress: bars in a terminal and in a notebook, a line now and then elsewhere, such as in the log of a cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from acclimate.cli.cell import CellBars
from acclimate.cli.console import err, tell

NARROW = 100  # terminal columns below which the elapsed time and the loss terms are left out of a bar
EVERY = 30.0  # seconds between two lines where there is no bar
WORTH_A_LINE = 10.0  # seconds that a task must take for its end to be told


class Progress:
    """Draws a bar for each task on standard error; where nothing can be drawn, writes a line now and then.

    Give it to `adapt` or `evaluate` as `progress`; a `with` statement takes the bars away also after an error. Any
    object with the methods `start`, `advance` and `finish` can stand in its place.

    Args:
        quiet: tell nothing.
        console: where to draw; by default standard error, or the output of the notebook's cell.
        every: seconds between two lines where there are no bars.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None, every: float = EVERY) -> None:
        self.console, self.quiet, self.every = console or err, quiet, every
        self.bars = CellBars() if self.console.is_jupyter and not quiet else _bars(self.console, quiet)
        self.tasks: list[_Task] = []
        self.said, self.entered = time.monotonic(), False

    def __enter__(self) -> Progress:
        self.entered = True
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def start(self, task: str, total: int | None) -> None:
        """Begin a task of `total` units, or of an unknown number."""
        self.bars.start()  # if it is not begun
        self.tasks.append(
            _Task(task, total, self.bars.add_task(task, total=total, rate="", figures=""), time.monotonic())
        )

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count `amount` units as done."""
        if self.quiet or not self.tasks:
            return
        task = self.tasks[-1]
        task.done += amount
        if figures:
            task.figures = "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
        if not self.bars.disable:
            self.bars.update(task.bar, advance=amount, rate=task.rate(), figures=task.figures)
        elif time.monotonic() - self.said >= self.every:
            self._say(task.line())

    def finish(self) -> None:
        """End the task that began last."""
        if not self.tasks:
            return
        task = self.tasks.pop()
        self.bars.remove_task(task.bar)
        if self.bars.disable and not self.quiet and task.seconds() >= WORTH_A_LINE:
            self._say(task.line(ended=True))
        if not self.tasks and not self.entered:
            self.bars.stop()

    def _say(self, line: str) -> None:
        self.said = time.monotonic()
        tell(self.console, line, "note")


@dataclass
class _Task:
    name: str
    total: int | None
    bar: TaskID
    since: float
    done: int = 0
    figures: str = ""

    def seconds(self) -> float:
        return time.monotonic() - self.since

    def rate(self) -> str:
        rate = self.done / max(self.seconds(), 1e-6)
        return f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s"

    def line(self, ended: bool = False) -> str:
        """Return how far it is, in words for a log."""
        position = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        parts = [f"{self.name}: {position}", f"{self.seconds():.0f} s", self.rate()]
        if not ended and self.total and self.done:
            parts.append(f"about {self.seconds() * (self.total - self.done) / self.done:.0f} s to go")
        return ", ".join([*parts, *([self.figures] if self.figures else [])])


def _bars(console: Console, quiet: bool) -> Bars:
    """Return bars for a terminal, which draw nothing elsewhere."""
    wide = console.width >= NARROW
    return Bars(
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24 if wide else 12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        *([TimeElapsedColumn()] if wide else []),
        TimeRemainingColumn(compact=not wide),
        *([TextColumn("[note]{task.fields[figures]}")] if wide else []),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        redirect_stdout=False,  # what goes to standard output goes there, also where that is a file
        redirect_stderr=False,
    )
