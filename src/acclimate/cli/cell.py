"""Bars in the cell of a notebook: HTML that is put in the place of the one before, without widgets or scripts."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass
from typing import Any

from rich.progress import TaskID

EVERY = 0.2  # seconds between two drawings


@dataclass
class _Bar:
    description: str
    total: int | None
    rate: str = ""
    figures: str = ""
    completed: int = 0

    def drawn(self) -> str:
        """Return the bar as HTML."""
        length = "" if self.total is None else f' value="{self.completed}" max="{self.total}"'
        position = f"{self.completed}" if self.total is None else f"{self.completed}/{self.total}"
        words = [html.escape(word) for word in (self.description, position, self.rate, self.figures) if word]
        return f"<div><progress{length}></progress> {' &nbsp; '.join(words)}</div>"


class CellBars:
    """Draws bars in the output of a cell; in place of `rich.progress.Progress`, as far as that is used."""

    disable = False

    def __init__(self) -> None:
        self.bars: dict[TaskID, _Bar] = {}
        self.made, self.shown = 0, 0.0
        self.place: Any = None

    def start(self) -> None:
        """Take a place in the output, unless there is one."""
        from IPython.display import HTML, display

        if self.place is None:
            self.place = display(HTML(""), display_id=True)

    def stop(self) -> None:
        """Take the bars away."""
        self.bars.clear()
        self._draw()
        self.place = None

    def add_task(self, description: str, total: int | None, rate: str, figures: str) -> TaskID:
        """Draw one more bar, and return its number."""
        self.made += 1
        number = TaskID(self.made)
        self.bars[number] = _Bar(description, total, rate, figures)
        self._draw()
        return number

    def remove_task(self, number: TaskID) -> None:
        """Take a bar away."""
        self.bars.pop(number, None)
        self._draw()

    def update(self, number: TaskID, advance: int, rate: str, figures: str) -> None:
        """Let a bar grow, and draw it if some time has passed."""
        bar = self.bars[number]
        bar.completed, bar.rate, bar.figures = bar.completed + advance, rate, figures
        if time.monotonic() - self.shown >= EVERY:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import HTML

        self.shown = time.monotonic()
        if self.place is not None:
            self.place.update(HTML("".join(bar.drawn() for bar in self.bars.values())))
