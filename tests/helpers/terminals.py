"""Runs the command line in a terminal of a certain width."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(width: int, *words: object, out: Path | None = None) -> str:
    """Return what `acclimate WORDS` writes to a terminal of so many columns, colours left out.

    Args:
        width: columns.
        words: of the command.
        out: file that standard output goes to in place of the terminal.
    """
    child, place = pty.fork()
    if child == 0:
        if out is not None:
            os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
        os.environ |= {"OMP_NUM_THREADS": "1", "TERM": "xterm"}
        os.environ.pop("COLUMNS", None)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        os.execv(sys.executable, [sys.executable, "-m", "acclimate", *map(str, words)])
    written = b""
    try:
        while piece := os.read(place, 65536):
            written += piece
    except OSError:  # the end, on Linux
        pass
    os.waitpid(child, 0)
    os.close(place)
    return ESCAPES.sub("", written.decode()).replace("\r\n", "\n")
