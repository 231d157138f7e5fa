"""`log.jsonl`: one JSON object a line, cut back to the checkpoint when a killed run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acclimate.errors import RunError


class Journal:
    """Append-only log of a run; without a path it is kept in memory.

    Args:
        path: file to append to.
        resume_at: size in bytes that the log had at the checkpoint; whatever was written after it is cut off, so that
            no line appears twice and no half-written line stays.
        watch: told of every entry that is written from now on.
    """

    def __init__(
        self, path: Path | None = None, resume_at: int = 0, watch: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.path, self.watch = path, watch
        self.lines: list[dict[str, Any]] = []
        if path is None:
            return
        path.touch()
        with path.open("r+b") as file:
            file.truncate(min(resume_at, path.stat().st_size))
        self.lines = [json.loads(line) for line in path.read_text().splitlines()]

    def write(self, **entry: Any) -> None:
        """Append one entry; numbers, texts and lists only.

        Raises:
            RunError: when the file cannot be written.
        """
        self.lines.append(entry)
        if self.watch is not None:
            self.watch(entry)
        if self.path is None:
            return
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except FileNotFoundError:
            raise _gone(self.path) from None
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror}; free some space or choose another `out`"
            ) from None

    @property
    def size(self) -> int:
        """Size of the file in bytes; 0 in memory.

        Raises:
            RunError: the file is gone.
        """
        if self.path is None:
            return 0
        try:
            return self.path.stat().st_size
        except OSError:
            raise _gone(self.path) from None


def _gone(path: Path) -> RunError:
    return RunError(f"{path} is gone: the folder was moved or removed while the run learned; give the command again")
