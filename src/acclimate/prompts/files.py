"""Files that say something of each class: a JSON or YAML mapping, or a CSV table with a column `class`."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from acclimate.errors import DataError


def read_entries(path: str | Path, kind: str, column: str) -> list[tuple[str, str, Any]]:
    """Return (where, class, value) of every entry of such a file, in its order.

    Args:
        path: a mapping of class to value in JSON or YAML, or a CSV with the columns `class` and `column`.
        kind: what the file is called in messages.
        column: what the values are called.

    Raises:
        DataError: the file is missing, or is none of these.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a {kind} ({error}); give a UTF-8 JSON, YAML or CSV file") from None
    if path.suffix.lower() == ".csv":
        return _from_table(path, text, column)
    return _from_mapping(path, text, column)


def nearest_class(name: str, known: Sequence[str]) -> str:
    """Return the next step for a class name that is not among the known ones."""
    close = closest(name, known)
    if close:
        return f"; did you mean {close!r}?"
    return f"; the classes are {', '.join(list(known)[:8])}{', ...' if len(known) > 8 else ''}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelled most like this one, or none that is near."""
    lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=0.6)
    return lower[found[0]] if found else None


def _from_table(path: Path, text: str, column: str) -> list[tuple[str, str, Any]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    if not {"class", column} <= set(reader.fieldnames or ()):
        raise DataError(f"{path}: its first line is {','.join(reader.fieldnames or ())!r}; write 'class,{column}'")
    return [(f"{path} row {number}", str(row["class"]), row[column]) for number, row in enumerate(reader, start=2)]


def _from_mapping(path: Path, text: str, column: str) -> list[tuple[str, str, Any]]:
    try:
        content: Any = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        kind = path.suffix.lstrip(".").upper() or "YAML"
        raise DataError(f"{path}: not valid {kind} ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}; write one 'class: {column}' entry per class")
    return [(str(path), str(name), value) for name, value in content.items()]
