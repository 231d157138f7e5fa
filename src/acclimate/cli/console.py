"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.theme import Theme

from acclimate.cli.terminal import SafeConsole, escape
from acclimate.cli.wording import in_dashes

THEME = Theme({"error": "bold red", "warning": "yellow", "note": "dim", "best": "bold"})

PIPE_WIDTH = 140  # columns where the output is not a terminal, so that tables in files and logs are not cut


def _console(stderr: bool = False) -> Console:
    console = SafeConsole(theme=THEME, highlight=False, stderr=stderr)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


out = _console()
err = _console(stderr=True)


class _Notes(logging.Handler):
    """Shows what the library decided (info) and what the user should look at (warning)."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "warning" if record.levelno >= logging.WARNING else "note"
        label = "warning: " if record.levelno >= logging.WARNING else ""
        err.print(f"[{style}]{label}{escape(in_dashes(record.getMessage()))}[/]", soft_wrap=True)


def show_notes(quiet: bool = False) -> None:
    """Send the library's messages to standard error; `quiet` keeps warnings only."""
    logger = logging.getLogger("acclimate")
    logger.handlers = [_Notes()]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False


def show_error(message: str) -> None:
    """Print the one line of an error."""
    err.print(f"[error]error:[/] {escape(in_dashes(' '.join(message.split())))}", soft_wrap=True)
