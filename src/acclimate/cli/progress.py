"""Progress bars with rate, time left and loss terms; silent where standard error is not a terminal."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
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
        self.tasks: list[_Task] = []

    def __enter__(self) -> TerminalProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def start(self, task: str, total: int | None) -> None:
        """Begin a task of `total` units, or of an unknown number."""
        self.tasks.append(_Task(self.bars.add_task(task, total=total, rate="", figures="")))

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count `amount` units as done."""
        if self.bars.disable or not self.tasks:
            return
        task = self.tasks[-1]
        task.done += amount
        rate = task.done / max(time.monotonic() - task.since, 1e-6)
        self.bars.update(task.bar, advance=amount, rate=f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if figures:
            text = "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in figures.items())
            self.bars.update(task.bar, figures=text)

    def finish(self) -> None:
        """End the task that began last."""
        if self.tasks:
            self.bars.remove_task(self.tasks.pop().bar)


@dataclass
class _Task:
    bar: TaskID
    done: int = 0
    since: float = field(default_factory=time.monotonic)
