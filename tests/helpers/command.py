"""Runs the command line, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from acclimate.cli import main
from tests.helpers.waiting import HANG, wait_until

# of `acclimate adapt`, for a run of a second
QUICK = ("--shots", "4", "--domain", "natural", "--device", "cpu")
SETTINGS = ("--method", "coop", "--set", "epochs=2", "--set", "context-tokens=4", "--set", "batch_size=8")


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which is one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line of an error, which must be the last; no traceback anywhere."""
        assert "Traceback" not in self.err + self.out, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert self.err.rstrip().endswith(lines[0]), self.err
        return lines[0]


def acclimate(*words: object) -> Done:
    """Run `acclimate WORDS` in this process."""
    out, err = io.StringIO(), io.StringIO()
    logger = logging.getLogger("acclimate")
    before = logger.handlers[:], logger.level, logger.propagate
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["acclimate", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            logger.handlers[:], logger.level, logger.propagate = before
    return Done(code, out.getvalue(), err.getvalue())


def interrupted(condition: Callable[[], object], *words: object) -> Done:
    """Run `acclimate WORDS` in this process, and press Ctrl-C as soon as something holds."""
    ended = threading.Event()

    def press() -> None:
        wait_until(lambda: ended.is_set() or condition(), "moment to interrupt")
        if not ended.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    presser = threading.Thread(target=press)
    presser.start()
    try:
        return acclimate(*words)
    finally:
        ended.set()
        presser.join()
        signal.signal(signal.SIGINT, before)


def start(*words: object, **options: Any) -> subprocess.Popen:
    """Start `python -m acclimate WORDS`, which hears Ctrl-C even where this process was told to ignore it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background; a child would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "acclimate", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def finish(process: subprocess.Popen) -> Done:
    """Wait for it."""
    out, err = process.communicate(timeout=HANG)
    return Done(process.returncode, out, err)


def run_code(code: str, *words: object) -> str:
    """Run Python code with arguments in a process of its own, on one thread, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=HANG,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
