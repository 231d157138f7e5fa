"""The command line: verbs and no logic. Nothing here imports torch before a verb runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

INTERRUPTED = 130  # exit code of a command that was interrupted from the keyboard
UNREAD = 141  # of one whose output nobody reads to its end: what a shell says of a program that SIGPIPE has ended


def main() -> None:
    """Run the command line; an interrupt ends it in one line from the first import on."""
    interrupts: list[int] = []

    def interrupt(number: int, frame: object) -> NoReturn:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        from acclimate.cli.app import main as run

        run()
    except KeyboardInterrupt as stop:
        _end(getattr(stop, "__notes__", ()))
    except Exception:  # what an import that was interrupted leaves half done, another one stumbles over
        if not interrupts:
            raise
        _end()
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # whoever has called it gets its own handler back
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(notes: Sequence[str] = ()) -> NoReturn:
    """Say that the command was interrupted, and what the same command does next time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only tear up the end
    advice = "".join(f"; {note}" for note in notes)
    print(f"error: interrupted{advice}", file=sys.stderr)
    sys.exit(INTERRUPTED)
