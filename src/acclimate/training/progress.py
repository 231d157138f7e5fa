"""What the library tells about its progress; the command line draws it, other callers may ignore it."""

from __future__ import annotations

import time
from typing import Protocol


class Progress(Protocol):
    """Receiver of progress. Every method is cheap and may be called thousands of times.

    Tasks may nest: a task within another, such as the features of an epoch within a training, begins and ends in it.
    """

    def start(self, task: str, total: int | None) -> None:
        """Begin a task of `total` units (images or steps), none where nobody knows how many, as of a stream."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count `amount` units as done; `figures` are the current loss terms or rates."""

    def finish(self) -> None:
        """End the task that began last, and go on with the one around it."""


class Silent:
    """Progress that goes nowhere."""

    def start(self, task: str, total: int | None) -> None:
        """Ignore the start of a task."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Ignore progress."""

    def finish(self) -> None:
        """Ignore the end of a task."""


class Timed:
    """Progress that passes everything on, and adds the seconds of each task to an account.

    Args:
        progress: is told as well.
        seconds: by name of the task.
    """

    def __init__(self, progress: Progress, seconds: dict[str, float]) -> None:
        self.progress, self.seconds = progress, seconds
        self.task, self.since = "", 0.0

    def start(self, task: str, total: int | None) -> None:
        """Begin a task."""
        self.task, self.since = task, time.monotonic()
        self.progress.start(task, total)

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count units as done."""
        self.progress.advance(amount, **figures)

    def finish(self) -> None:
        """End the current task and book its time."""
        self.seconds[self.task] = self.seconds.get(self.task, 0.0) + time.monotonic() - self.since
        self.progress.finish()
