"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from acclimate.cli.layout import wrap
from acclimate.cli.terminal import SafeConsole, one_line
from acclimate.cli.wording import in_dashes
from acclimate.counting import counted
from acclimate.errors import DataError, on_a_screen

THEME = Theme({"error": "bold red", "warning": "yellow", "note": "dim", "best": "bold"})

PIPE_WIDTH = 140  # columns where the output is not a terminal, so that tables in files and logs are not cut


def follower() -> str:
    """Return the number of this process among those of a launcher, or nothing where it is the first, which speaks."""
    rank = os.environ.get("RANK", "0") if os.environ.get("WORLD_SIZE", "1") != "1" else "0"
    return "" if rank == "0" else rank


def _console(stderr: bool = False) -> Console:
    console = SafeConsole(theme=THEME, highlight=False, stderr=stderr, quiet=bool(follower()))
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


out = _console()
err = _console(stderr=True)


def is_unicode(stream: TextIO) -> bool:
    """Return whether a stream can write every character."""
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def tell(console: Console, text: str, style: str = "", label: str = "", label_style: str = "") -> None:
    """Print a sentence: in a terminal in lines of whole words, elsewhere in one line.

    Args:
        console: where to.
        text: plain, no markup.
        style: of the text.
        label: stands before it, in a style of its own.
        label_style: that style.
    """
    text = one_line(text)
    lines = wrap(text, console.width - len(label)) if console.is_terminal else [text]
    for number, line in enumerate(lines):
        head = " " * len(label) if number else label
        console.print(Text.assemble((head, label_style), (line, style)), soft_wrap=True)


def show_line(console: Console, text: str, style: str = "") -> None:
    """Print a text from elsewhere, no markup, in one line that is neither cut nor wrapped."""
    console.print(Text(one_line(text), style), soft_wrap=True)


class _Notes(logging.Handler):
    """Shows what the library decided (info) and what the user should look at (warning), each message once.

    Args:
        without: leave out messages with this mark.
    """

    def __init__(self, without: str = "") -> None:
        super().__init__()
        self.without = without
        self.said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = on_a_screen(record.getMessage())
        if text in self.said or hasattr(record, self.without):
            return
        self.said.add(text)
        style = "warning" if record.levelno >= logging.WARNING else "note"
        label = "warning: " if record.levelno >= logging.WARNING else ""
        tell(err, label + in_dashes(text), style)


def show_notes(quiet: bool = False, without: str = "") -> None:
    """Send the library's messages to standard error.

    Args:
        quiet: warnings only.
        without: leave out messages with this mark, which the verb says otherwise: "in_check", of what the report of a
            check has; "split_made", of the split that is made of data when they are loaded.
    """
    logger = logging.getLogger("acclimate")
    logger.handlers = [_Notes(without)]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def show_error(message: str) -> None:
    """Print the one line of an error, also of a process that is silent otherwise."""
    err.quiet, rank = False, follower()
    label = f"error in process {rank}: " if rank else "error: "
    tell(err, in_dashes(" ".join(message.split())), label=label, label_style="error")


def refuse_unread(reasons: Sequence[str], count: int, done: str) -> None:
    """Refuse images that could not be read, once everything else is done.

    Args:
        reasons: why, image by image.
        count: number of all images.
        done: what has become of the others.

    Raises:
        DataError: there are such images.
    """
    if reasons:
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        others = f", the others are {done}" if len(reasons) < count else ""
        raise DataError(f"{len(reasons)} of {counted(count, 'image')} could not be read{others}: {reasons[0]}{more}")
