"""What the library tells about its progress; the command line draws it, other callers may ignore it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress. Every method is cheap and may be called thousands of times."""

    def start(self, task: str, total: int) -> None:
        """Begin a task of `total` units (images or steps)."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Count `amount` units as done; `figures` are the current loss terms or rates."""

    def finish(self) -> None:
        """End the current task."""


class Silent:
    """Progress that goes nowhere."""

    def start(self, task: str, total: int) -> None:
        """Ignore the start of a task."""

    def advance(self, amount: int = 1, **figures: float) -> None:
        """Ignore progress."""

    def finish(self) -> None:
        """Ignore the end of a task."""
