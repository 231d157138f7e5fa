"""Progress bars with rate, time left and loss terms; silent where standard error is not a terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from acclimate.cli.console import err


class TerminalProgress:
    """Draws one bar a task on standard error.

    Args:
        quiet: draw nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.bars = Bars(
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[note]{task.fields[figures]}"),
            console=err,
            disable=quiet or not err.is_terminal,
            transient=True,
        )
        self.task: TaskID | None = None
        self.done, self.since = 0, 0.0

    def __enter__(self) -> TerminalProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def start(self, task: str, total: int | None) -> None:
        """Begin a task of `total` units, or of an unknown number."""
        self.task = self.bars.add_task(task, total=total, rate="", figures="")
        self.done, self.since = 0, time.monotonic()

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count `amount` units as done."""
        if self.bars.disable or self.task is None:
            return
        self.done += amount
        rate = self.done / max(time.monotonic() - self.since, 1e-6)
        self.bars.update(self.task, advance=amount, rate=f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if figures:
            text = "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
            self.bars.update(self.task, figures=text)

    def finish(self) -> None:
        """End the current task."""
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
