"""Manifests: tables (CSV, TSV, JSON lines, Parquet) with one row per image, `path,label[,domain,group,split]`.

A row is counted as a spreadsheet shows it: in CSV and TSV the header is row 1. In JSON lines it is the line, in Parquet
the row, from 1.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import logging
import math
import os
import unicodedata
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

from acclimate.data.ordering import some
from acclimate.data.rows import Remark, Rows, split_of, tidy
from acclimate.data.unread import in_words, kind_of_file, kind_of_name
from acclimate.errors import DataError
from acclimate.files import read_bytes
from acclimate.spreadsheets import from_text

log = logging.getLogger("acclimate.data")

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""File name endings of manifests, in the order in which `labels.*` is looked for in a folder."""

REQUIRED, OPTIONAL = ("path", "label"), ("domain", "group", "split")

Record = tuple[int, dict[str, str]]


def find_manifest(folder: Path) -> Path | None:
    """Return the manifest `labels.*` of a folder, or None."""
    found = [folder / f"labels{suffix}" for suffix in SUFFIXES if (folder / f"labels{suffix}").is_file()]
    if len(found) > 1:
        log.info("%s: reading %s and leaving %s aside", folder, found[0].name, some([file.name for file in found[1:]]))
    return found[0] if found else None


def read_manifest(file: Path, images_root: Path | None = None) -> Rows:
    """Read a manifest and check every row, without opening an image.

    Args:
        file: the manifest.
        images_root: the folder to which relative paths belong; by default the folder of the manifest.

    Raises:
        DataError: columns, labels, splits or images that are missing or contradict one another; it names the row.
    """
    columns, records = read_table(file, (*REQUIRED, *OPTIONAL))
    return collect(file.name, table_name(file), columns, records, images_root or file.parent)


def read_table(file: Path, wanted: Iterable[str]) -> tuple[list[str], Iterator[Record]]:
    """Return the columns of a table, and its rows with their numbers.

    Args:
        file: CSV, TSV, JSON lines or Parquet, by its name.
        wanted: columns in lower case; of a Parquet file only these are read.

    Raises:
        DataError: it cannot be read as what its name says.
    """
    suffix = file.suffix.lower()
    try:
        if suffix == ".parquet":
            return _parquet(file, set(wanted))
        if suffix in (".jsonl", ".ndjson"):
            return _json_lines(file)
        return _csv(file)
    except OSError as error:
        raise DataError(
            f"{file}: cannot read this file ({(error.strerror or str(error)).lower()}); mend it or name another"
        ) from error


def table_name(file: Path) -> str:
    """Return what data are called that a table lists: its own name, or that of its folder where it has a usual one."""
    usual = ("labels", "metadata", "manifest", "captions")
    return file.resolve().parent.name if file.stem.lower() in usual else file.stem


def collect(title: str, name: str, columns: list[str], records: Iterable[Record], root: Path) -> Rows:
    """Check the records of a table and resolve their paths against `root`; `title` names the table in messages."""
    chosen = _columns(title, columns)
    rows = Rows(name)
    seen: dict[str, tuple[int, tuple[str, ...]]] = {}
    missing: list[tuple[int, str]] = []
    repeated: list[str] = []
    for number, record in records:
        values = {field: tidy(record.get(column) or "") for field, column in chosen.items()}
        for field in REQUIRED:
            if not values[field]:
                raise DataError(f"{title} row {number}: the {field} is empty; fill it in or remove the row")
        domain, group, word = (values.get(field, "") for field in OPTIONAL)
        split = split_meant(title, number, word)
        raw = (record.get(chosen["path"]) or "").strip()
        path = resolve(root, raw)
        if path is None:
            missing.append((number, raw))
            continue
        key = key_of(root, path)
        facts = (values["label"], split, domain, group)
        if key in seen:
            _compare(title, key, seen[key], (number, facts))
            repeated.append(key)
            continue
        seen[key] = (number, facts)
        rows.add(key, path, values["label"], domain=domain, group=group, split=split)
    if missing:
        number, raw = missing[0]
        kind = "is a folder, not an image" if os.path.isdir(root / raw) else "no such image"
        text = f"{raw!r} {kind}" if "folder" in kind else f"{kind} {raw!r}"
        known = kind_of_file(os.path.join(root, raw))
        text += f", only a {known.one}: {known.step}" if known else ""
        more = f"; {len(missing) - 1} more rows have no image either" if len(missing) > 1 else ""
        raise DataError(
            f"{title} row {number}: {text} (looked in {root}){more}; correct the paths or give `images_root`"
        )
    if not len(rows):
        raise DataError(f"{title}: no rows; add one row per image with path,label")
    unread = [found for path in rows.paths if path and (found := kind_of_name(path))]
    if unread:
        text = f"{len(unread)} rows name files that are not read: {in_words(unread)}"
        rows.remarks.append(Remark("warning", "unread_files", text))
    if repeated:
        log.warning(
            "%s: %d rows repeat an image with the same label and are left out: %s",
            title,
            len(repeated),
            some(repeated),
        )
    return rows


def _columns(title: str, columns: list[str]) -> dict[str, str]:
    """Match the wanted columns to the found ones, whatever their case."""
    found = {column.strip().lower(): column for column in reversed(columns)}
    for wanted in REQUIRED:
        if wanted not in found:
            alike = {
                "path": ["file_name", "filename", "file", "image", "image_path", "filepath"],
                "label": ["class", "category", "target", "labels", "y"],
            }
            near = [name for name in alike[wanted] if name in found] or difflib.get_close_matches(
                wanted, list(found), 1
            )
            advice = f"; rename column {found[near[0]]!r} to {wanted!r}" if near else f"; add a column {wanted!r}"
            raise DataError(f"{title}: no column {wanted!r} among {', '.join(columns) or 'no columns'}{advice}")
    return {name: found[name] for name in (*REQUIRED, *OPTIONAL) if name in found}


def split_meant(title: str, number: int, word: str) -> str:
    """Return the split that a cell means, "" where it is empty.

    Raises:
        DataError: it means none.
    """
    split = split_of(word) if word else ""
    if split is None:
        raise DataError(f"{title} row {number}: unknown split {word!r}; say train, val or test, or leave it empty")
    return split


def resolve(root: Path, raw: str) -> str | None:
    """Return the file that a path means, also where it was written on Windows or in another Unicode form."""
    forms = (raw, raw.replace("\\", "/"), unicodedata.normalize("NFC", raw), unicodedata.normalize("NFD", raw))
    for text in dict.fromkeys(forms):
        path = os.path.normpath(os.path.join(root, os.path.expanduser(text)))
        if os.path.isfile(path):
            return path
    return None


def key_of(root: Path, path: str) -> str:
    """Return the name of an image: its path below `root`, the same wherever the data lie, or else the whole path."""
    inside = os.path.relpath(path, root)
    return tidy((path if inside.startswith("..") else inside).replace(os.sep, "/"))


def _compare(title: str, key: str, first: tuple[int, tuple[str, ...]], second: tuple[int, tuple[str, ...]]) -> None:
    """Refuse an image that is listed twice with labels or splits that differ."""
    (row, facts), (again, others) = first, second
    for position, what in enumerate(("label", "split")):
        if facts[position] != others[position]:
            raise DataError(
                f"{title} row {again}: {key!r} has {what} {others[position]!r}, but {facts[position]!r} in row "
                f"{row}; keep one of the two rows"
            )


def _csv(file: Path) -> tuple[list[str], Iterator[Record]]:
    text = _text(file)
    lines = io.StringIO(text, newline="")
    head = text.split("\n", 1)[0]
    delimiter = "\t" if file.suffix.lower() == ".tsv" else max(",;\t", key=lambda mark: (head.count(mark), mark == ","))
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        columns = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise DataError(f"{file.name} row 1: {error}; save it again as CSV") from error
    return columns, _csv_records(file.name, columns, reader)


def _csv_records(title: str, columns: list[str], reader: Any) -> Iterator[Record]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{title} row {number}: {error}; mend this row") from error
        if len(cells) > len(columns):
            raise DataError(
                f"{title} row {number}: {len(cells)} values for {len(columns)} columns; put values that contain the "
                "delimiter into quotes"
            )
        if any(cell.strip() for cell in cells):
            yield number, dict(zip(columns, map(from_text, cells), strict=False))


def _text(file: Path) -> str:
    content = read_bytes(file)
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file.name} row {row}: byte {content[error.start]:#04x} is not UTF-8; save the file with the encoding "
            "UTF-8"
        ) from error
    if "\x00" in text:
        raise DataError(f"{file.name}: this is not a text file; save the table as CSV, JSON lines or Parquet")
    return text


def _json_lines(file: Path) -> tuple[list[str], Iterator[Record]]:
    columns: dict[str, None] = {}
    records: list[Record] = []
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{file.name} row {number}: not JSON ({error.msg}); write one JSON object on each line"
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"{file.name} row {number}: {line.strip()[:40]!r} is no JSON object; write one object on each line"
            )
        columns.update(dict.fromkeys(record))
        records.append((number, {name: plain(value) for name, value in record.items()}))
    return list(columns), iter(records)


def _parquet(file: Path, names: Container[str]) -> tuple[list[str], Iterator[Record]]:
    import pyarrow
    import pyarrow.parquet

    try:
        columns = list(pyarrow.parquet.read_schema(file).names)
        wanted = [column for column in columns if column.strip().lower() in names]
        table = pyarrow.parquet.read_table(file, columns=wanted)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{file.name}: not a readable Parquet file ({reason}); write it again") from error
    cells = [[plain(value) for value in table[column].to_pylist()] for column in wanted]
    rows = (dict(zip(wanted, values, strict=True)) for values in zip(*cells, strict=True))
    return columns, enumerate(rows, start=1)


def plain(value: Any) -> str:
    """Return a cell as text: nothing for a missing value, 3 for 3.0."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
