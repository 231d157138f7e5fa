"""Files of predictions: CSV, JSONL and Parquet, written row by row and moved into place when they are complete."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from acclimate.errors import RunError
from acclimate.files import part_of, remove_parts
from acclimate.spreadsheets import as_text

ROW_GROUP = 1024  # rows of a Parquet row group


Row = Mapping[str, Any]  # text, numbers, or nothing; of Parquet also arrays
SUFFIXES = (".csv", ".jsonl", ".parquet")


class PredictionWriter(Protocol):
    """Where predictions go, one row at a time."""

    def write(self, row: Row) -> None:
        """Add one row."""
        ...

    def close(self) -> None:
        """Finish the file and put it in its place."""
        ...

    def abandon(self) -> None:
        """Remove the unfinished file."""
        ...


def open_writer(path: Path, columns: Mapping[str, type]) -> PredictionWriter:
    """Return a writer for `.csv`, `.jsonl` or `.parquet`.

    The rows go to a hidden file beside `path`, which takes its place when all are written.

    Args:
        path: the file.
        columns: `str`, `float` or `int`, by name, see `Task.columns`.

    Raises:
        RunError: for another suffix, or a folder that cannot be written to.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise RunError(f"{path}: write predictions to a file that ends in {', '.join(SUFFIXES)}")
    kinds = dict(zip(SUFFIXES, (_CsvWriter, _JsonlWriter, ParquetWriter), strict=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return kinds[path.suffix.lower()](path, columns)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another file") from None


def csv_cells(row: Row, columns: Iterable[str]) -> list[Any]:
    """Return the cells of a row of CSV, of which none is a formula to a spreadsheet."""
    cells = (row.get(name) for name in columns)
    return [as_text(cell) if isinstance(cell, str) else cell for cell in cells]


class _FileWriter:
    """Common part: rows go to a temporary file that is moved into place at the end."""

    file: Any  # what `begin` opens

    def __init__(self, path: Path, columns: Mapping[str, type]) -> None:
        self.path, self.columns = path, dict(columns)
        remove_parts(path)
        self.part = part_of(path)
        self.begin()

    def write(self, row: Row) -> None:
        try:
            self.add(row)
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

    def add(self, row: Row) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError


class _CsvWriter(_FileWriter):
    def begin(self) -> None:
        self.file = self.part.open("w", newline="", encoding="utf-8")
        self.rows = csv.writer(self.file)
        self.rows.writerow(map(as_text, self.columns))

    def add(self, row: Row) -> None:
        self.rows.writerow(csv_cells(row, self.columns))

    def end(self) -> None:
        self.file.close()


class _JsonlWriter(_FileWriter):
    def begin(self) -> None:
        self.file = self.part.open("w", encoding="utf-8")

    def add(self, row: Row) -> None:
        self.file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def end(self) -> None:
        self.file.close()


class ParquetWriter(_FileWriter):
    """Rows as Parquet.

    Args:
        path: the file.
        columns: `str`, `float`, `int` or a type of pyarrow, by name.
        metadata: entries of the schema.
        rows: of a group, which are held until it is full; 0: `ROW_GROUP`.
    """

    def __init__(
        self, path: Path, columns: Mapping[str, Any], metadata: Mapping[str, str] | None = None, rows: int = 0
    ) -> None:
        self.metadata, self.rows = dict(metadata or {}), rows or ROW_GROUP
        super().__init__(path, columns)

    def begin(self) -> None:
        """Open the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
        fields = [(name, kinds.get(kind, kind)) for name, kind in self.columns.items()]
        self.schema = pa.schema(fields, self.metadata or None)
        self.table = pa.Table
        self.file = pq.ParquetWriter(self.part, self.schema)
        self.pending: list[Row] = []

    def add(self, row: Row) -> None:
        """Hold a row until its group is full."""
        self.pending.append(row)
        if len(self.pending) == self.rows:
            self._flush()

    def _flush(self) -> None:
        if self.pending:
            self.file.write_table(self.table.from_pylist(list(map(dict, self.pending)), self.schema))
            self.pending = []

    def end(self) -> None:
        """Write what is held, and close the file."""
        self._flush()
        self.file.close()
