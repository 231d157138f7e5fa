"""Waiting without a wall limit that a busy machine could miss: what hangs is caught, what is slow is not."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

HANG = float(os.environ.get("ACCLIMATE_TEST_HANG_SECONDS", "1800"))  # after which a test calls a process stuck


def wait_until(condition: Callable[[], object], what: str, process: subprocess.Popen | None = None) -> None:
    """Look again and again until something holds.

    Args:
        condition: what is asked.
        what: what is waited for, told when it never comes.
        process: must go on while it is waited for.
    """
    deadline = time.monotonic() + HANG
    while not condition():
        if process is not None:
            assert process.poll() is None, f"ended before {what}: {process.stderr.read() if process.stderr else ''}"
        assert time.monotonic() < deadline, f"no {what} within {HANG:g} s"
        time.sleep(0.002)
