"""Files of predictions: CSV, JSONL and Parquet, written row by row and moved into place when they are complete."""

from __future__ import annotations

import csv
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from acclimate.errors import RunError
from acclimate.runs.prediction import Prediction

ROW_GROUP = 1024  # rows of a Parquet row group


class PredictionWriter(Protocol):
    """Where predictions go, one row at a time."""

    def write(self, prediction: Prediction) -> None:
        """Add one row."""
        ...

    def close(self) -> None:
        """Finish the file and put it in its place."""
        ...

    def abandon(self) -> None:
        """Remove the unfinished file."""
        ...


def open_writer(path: Path, class_names: tuple[str, ...], spread: bool = False) -> PredictionWriter:
    """Return a writer for `.csv`, `.jsonl` or `.parquet`: columns path, label, probability, p(class) ..., error.

    With `spread`, a column of that name follows the probability. The rows go to a hidden file beside `path`, which
    takes its place when all are written.

    Raises:
        RunError: for another suffix, or a folder that cannot be written to.
    """
    kinds = {".csv": _CsvWriter, ".jsonl": _JsonlWriter, ".parquet": _ParquetWriter}
    if path.suffix.lower() not in kinds:
        raise RunError(f"{path}: write predictions to a file that ends in {', '.join(kinds)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return kinds[path.suffix.lower()](path, class_names, spread)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another file") from None


class _FileWriter:
    """Common part: rows go to a temporary file that is moved into place at the end."""

    file: Any  # what `begin` opens

    def __init__(self, path: Path, class_names: tuple[str, ...], spread: bool) -> None:
        self.path, self.class_names = path, class_names
        self.figures = ["probability", *(["spread"] if spread else []), *(f"p({name})" for name in class_names)]
        self.part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self.begin()

    def row(self, prediction: Prediction) -> dict[str, str | float | None]:
        scores = prediction.probabilities.tolist() or [None] * len(self.class_names)
        known = {f"p({name})": score for name, score in zip(self.class_names, scores, strict=True)}
        known |= {"probability": None if prediction.error else prediction.probability, "spread": prediction.spread}
        figures = {name: known[name] for name in self.figures}
        return {"path": prediction.path, "label": prediction.label, **figures, "error": prediction.error}

    def write(self, prediction: Prediction) -> None:
        try:
            self.add(self.row(prediction))
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}; free some space and run it again") from None

    def close(self) -> None:
        try:
            self.end()
            os.replace(self.part, self.path)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}; free some space and run it again") from None

    def abandon(self) -> None:
        with suppress(OSError):  # the rest of the rows may not fit either
            self.file.close()
        self.part.unlink(missing_ok=True)

    def begin(self) -> None:
        raise NotImplementedError

    def add(self, row: dict[str, str | float | None]) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class _CsvWriter(_FileWriter):
    def begin(self) -> None:
        self.file = self.part.open("w", newline="", encoding="utf-8")
        self.rows = csv.DictWriter(self.file, ["path", "label", *self.figures, "error"])
        self.rows.writeheader()

    def add(self, row: dict[str, str | float | None]) -> None:
        self.rows.writerow(row)

    def end(self) -> None:
        self.file.close()


class _JsonlWriter(_FileWriter):
    def begin(self) -> None:
        self.file = self.part.open("w", encoding="utf-8")

    def add(self, row: dict[str, str | float | None]) -> None:
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def end(self) -> None:
        self.file.close()


class _ParquetWriter(_FileWriter):
    def begin(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        figures = [(name, pa.float64()) for name in self.figures]
        self.schema = pa.schema([("path", pa.string()), ("label", pa.string()), *figures, ("error", pa.string())])
        self.table = pa.Table
        self.file = pq.ParquetWriter(self.part, self.schema)
        self.pending: list[dict] = []

    def add(self, row: dict[str, str | float | None]) -> None:
        self.pending.append(row)
        if len(self.pending) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self.pending:
            self.file.write_table(self.table.from_pylist(self.pending, self.schema))
            self.pending = []

    def end(self) -> None:
        self._flush()
        self.file.close()
