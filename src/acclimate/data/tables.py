"""Tables that people write: CSV, TSV, JSON lines and Parquet, read in one way into columns and rows of text.

A row is counted as a spreadsheet shows it: in CSV and TSV the header is row 1. In JSON lines it is the line, in Parquet
the row, from 1.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from acclimate.data.ordering import some
from acclimate.documents import load_json, read_text
from acclimate.errors import DataError, brief
from acclimate.spreadsheets import from_text

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""File name endings of tables, in the order in which one of a name is looked for in a folder."""

Record = tuple[int, dict[str, Any]]
"""The number of a row and its cells by column: text, and lists of text in columns that may have several."""

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def read_table(file: Path, wanted: Iterable[str], several: Collection[str] = ()) -> tuple[list[str], Iterator[Record]]:
    """Return the columns of a table, and its rows with their numbers.

    Args:
        file: CSV, TSV, JSON lines or Parquet, by its name.
        wanted: columns in lower case; only their cells are read.
        several: those of them in which a cell of JSON lines or Parquet may be a list of texts.

    Raises:
        DataError: it cannot be read as what its name says, or a cell is neither text nor a number.
    """
    suffix, wanted = file.suffix.lower(), set(wanted)
    if suffix == ".parquet":
        return _parquet(file, wanted, several)
    if suffix in (".jsonl", ".ndjson"):
        return _json_lines(file, wanted, several)
    return read_csv(read_text(file), file.name, wanted)


def read_csv(text: str, title: str, wanted: Iterable[str]) -> tuple[list[str], Iterator[Record]]:
    """Return the columns of a table in which a mark separates the cells, and its rows with their numbers.

    The mark is the one of `, ; tab |` that gives the wanted columns, or the one that a first line `sep=;` names, as
    Excel writes it. Surplus cells are refused unless they are empty; missing ones are empty.

    Args:
        text: the table.
        title: of the file, for messages.
        wanted: columns in lower case.

    Raises:
        DataError: no mark, or more than one, fits; a wanted column stands there twice; quotes that do not end.
    """
    named = re.match(r"(?i)\s*\"?sep=([^\r\n]{1,3})\"?\r?\n", text)
    if named:
        text = text[named.end() :]
    wanted = set(wanted)
    mark = named[1].strip('"') if named else _delimiter(text, title, wanted)
    if len(mark) != 1:
        raise DataError(f"{title} row 1: sep={mark} names no single character; write sep=; or leave the line out")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=mark == ",")
    try:
        columns = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{title} row 1: {_reason(error)}; save it again as CSV") from error
    while columns and not columns[-1]:
        columns.pop()
    _check_twice(title, columns, wanted)
    return columns, _csv_records(title, columns, reader)


def _delimiter(text: str, title: str, wanted: set[str]) -> str:
    """Return the mark that gives the wanted columns of a header, or else the most columns."""
    head = text[: re.search(r"[\r\n]|\Z", text).start()]  # type: ignore[union-attr]
    cells = {mark: [cell.strip().strip('"').lower() for cell in head.split(mark)] for mark in DELIMITERS}
    hits = {mark: len(wanted & {*names}) for mark, names in cells.items()}
    most = max(hits.values())
    best = [mark for mark in DELIMITERS if hits[mark] == most and (len(cells[mark]) > 1 or not most)]
    if most and len(best) > 1:
        names = " or ".join(DELIMITERS[mark] for mark in best)
        raise DataError(f"{title} row 1: the columns are separated by {names}; use one of them in the whole table")
    if most < 2 and len(wanted & {*head.lower().split()}) > max(most, 1):
        raise DataError(f"{title} row 1: the columns are separated by blanks; separate them by commas or tabs")
    return best[0] if most and best else max(DELIMITERS, key=lambda mark: (head.count(mark), mark == ","))


def _check_twice(title: str, columns: Sequence[str], wanted: Collection[str]) -> None:
    names = [column.lower() for column in columns]
    twice = next((name for name in names if name in wanted and names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{title}: the column {twice!r} stands there twice; rename or remove one of the two")


def _csv_records(title: str, columns: Sequence[str], reader: Any) -> Iterator[Record]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{title} row {number}: {_reason(error)}; mend this row") from error
        if any(cell.strip() for cell in cells[len(columns) :]):
            raise DataError(
                f"{title} row {number}: {len(cells)} values for {len(columns)} columns; put values that contain the "
                "delimiter into quotes"
            )
        if any(cell.strip() for cell in cells):
            yield number, dict(zip(columns, map(from_text, cells), strict=False))


def _reason(error: csv.Error) -> str:
    """Return in plain words what the reader of the standard library says."""
    text = str(error)
    if "field limit" in text:
        return f"{text}, or a quote that does not end"
    return "a quote that does not end" if "unexpected end" in text else f"{text}, or a quote within a quoted value"


def _json_lines(file: Path, wanted: Collection[str], several: Collection[str]) -> tuple[list[str], Iterator[Record]]:
    columns: dict[str, None] = {}
    records: list[Record] = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{file.name} row {number}"
        record = load_json(line, place, next_step="write one JSON object on each line")
        if not isinstance(record, dict):
            raise DataError(f"{place}: {line.strip()[:40]!r} is no JSON object; write one object on each line")
        columns.update(dict.fromkeys(record))
        records.append((number, cells_of(record, place, wanted, several)))
    _check_twice(file.name, [*columns], wanted)
    return list(columns), iter(records)


def _parquet(file: Path, names: Collection[str], several: Collection[str]) -> tuple[list[str], Iterator[Record]]:
    import pyarrow
    import pyarrow.parquet

    try:
        columns = list(pyarrow.parquet.read_schema(file).names)
        _check_twice(file.name, columns, names)
        wanted = [column for column in columns if column.strip().lower() in names]
        table = pyarrow.parquet.read_table(file, columns=wanted)
        cells = [table[column].to_pylist() for column in wanted]
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{file.name}: not a readable Parquet file ({reason}); write it again") from error
    rows = (dict(zip(wanted, values, strict=True)) for values in zip(*cells, strict=True))
    numbered = enumerate(rows, start=1)
    records = ((number, cells_of(row, f"{file.name} row {number}", names, several)) for number, row in numbered)
    return columns, records


def cells_of(row: dict[str, Any], place: str, wanted: Collection[str], several: Collection[str]) -> dict[str, Any]:
    """Return the wanted cells of a row as text, see `read_table`; `place` names the row in messages."""
    found: dict[str, Any] = {}
    for column, value in row.items():
        name = column.strip().lower()
        if name not in wanted:
            continue
        where = f"{place}: column {brief(column)!r}"
        if name in several and isinstance(value, list):
            found[column] = [plain(one, where) for one in value]
        else:
            found[column] = plain(value, where)
    return found


def plain(value: Any, where: str = "the cell") -> str:
    """Return a cell as text: nothing for a missing value, 3 for 3.0.

    Args:
        value: text (bytes are read as UTF-8), a number, a date, or nothing.
        where: its row and column, for messages.

    Raises:
        DataError: it is something else, such as a list.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise DataError(f"{where} holds bytes that are no text; write one text or number in each cell") from None
    if isinstance(value, str):
        if "\x00" in value:
            raise DataError(f"{where} holds bytes that are no text; write one text or number in each cell")
        return value
    if isinstance(value, (bool, int, float, decimal.Decimal, datetime.date, datetime.time)):
        return str(value)
    kind = {"list": "a list", "dict": "several named values"}.get(type(value).__name__, f"a {type(value).__name__}")
    names = f" ({some([str(name) for name in value], 3)})" if isinstance(value, dict) else ""
    raise DataError(f"{where} holds {kind}{brief(names)}; write one text or number in each cell")


def whole(values: Sequence[str]) -> list[str]:
    """Return a column of a text table as other kinds of table have it: where all of it are numbers, 3 for 3.0.

    Numbers that would not read back as they are written, such as 001 and 1.10, are codes: they stay, with all others of
    their column.
    """
    if not all(_is_number(value) for value in values if value):
        return list(values)
    return [value.removesuffix(".0") if value else value for value in values]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and len(text) < 17 and text in (str(float(text)), str(int(float(text))))
