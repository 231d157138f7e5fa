"""The command line: verbs and no logic. Nothing here imports torch before a verb runs."""

from __future__ import annotations

import signal
import sys

INTERRUPTED = 130  # exit code of a command that was interrupted from the keyboard
UNREAD = 141  # of one whose output nobody reads to its end: what a shell says of a program that SIGPIPE has ended


def main() -> None:
    """Run the command line; an interrupt ends it in one line from the first import on."""
    try:
        from acclimate.cli.app import main as run

        run()
    except KeyboardInterrupt as stop:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only tear up the end
        advice = "".join(f"; {note}" for note in getattr(stop, "__notes__", ()))
        print(f"error: interrupted{advice}", file=sys.stderr)
        sys.exit(INTERRUPTED)
