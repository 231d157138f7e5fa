"""The file of answers: every one is kept as it comes, so that nothing is asked twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.describing.writers import Request
from acclimate.errors import RunError

SUFFIX = ".answers.jsonl"


class Answers:
    """Answers in a JSONL file: the first line says who gave them and how they were drawn, each other is one answer.

    A line that was cut off when the process died is dropped.

    Args:
        path: the file; it is made when the first answer comes.
        header: model and sampling.
        overwrite: forget what is there.

    Raises:
        RunError: it cannot be read, or holds answers that were drawn otherwise.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], overwrite: bool = False) -> None:
        self.path, self.header = path, dict(header)
        self.found: dict[Request, str] = {}
        self._whole = 0  # bytes up to the end of the last whole line
        if overwrite:
            path.unlink(missing_ok=True)
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]
            rows = [json.loads(line) for line in whole]
            if rows and rows[0] != self.header:
                changed = next(name for name in self.header if rows[0].get(name) != self.header[name])
                raise RunError(
                    f"{self.path} holds answers with {changed}={rows[0].get(changed)}, not {self.header[changed]}; "
                    "choose another `out`, or use `overwrite=True`"
                )
            self.found = {Request(row["class"], row["question"], row["seed"]): str(row["answer"]) for row in rows[1:]}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.path}: cannot be read as answers ({error}); choose another `out`, or use `overwrite=True`"
            ) from None
        self._whole = sum(len(line) for line in whole)

    def add(self, request: Request, answer: str) -> None:
        """Keep an answer; it is on the disk when this returns.

        Raises:
            RunError: it cannot be written.
        """
        row = {"class": request.class_name, "question": request.question, "seed": request.seed, "answer": answer}
        rows = [row] if self._whole else [self.header, row]
        content = b"".join(json.dumps(entry, ensure_ascii=False).encode() + b"\n" for entry in rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("r+b" if self.path.exists() else "wb") as file:
                file.truncate(self._whole)
                file.seek(self._whole)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror}; free some space or choose another `out`"
            ) from None
        self._whole += len(content)
        self.found[request] = answer
