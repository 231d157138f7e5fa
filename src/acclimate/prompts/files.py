"""Files that say something of each class: a JSON or YAML mapping, or a CSV table with a column `class`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acclimate.data.ordering import some
from acclimate.data.tables import read_csv
from acclimate.documents import load_json, load_yaml, read_text
from acclimate.errors import DataError
from acclimate.options import closest


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
    text = read_text(path, next_step=f"give a {kind} in JSON, YAML or CSV")
    if path.suffix.lower() in (".csv", ".tsv"):
        return _from_table(path, text, column)
    return _from_mapping(path, text, column)


def nearest_class(name: str, known: Sequence[str]) -> str:
    """Return the next step for a class name that is not among the known ones."""
    close = closest(name, known)
    if close:
        return f"; did you mean {close!r}?"
    return f"; the classes are {', '.join(list(known)[:8])}{', ...' if len(known) > 8 else ''}"


def _from_table(path: Path, text: str, column: str) -> list[tuple[str, str, Any]]:
    columns, records = read_csv(text, str(path), ("class", column))
    found = {name.lower(): name for name in columns}
    if not {"class", column} <= set(found):
        raise DataError(f"{path}: the columns are {some(columns, 10)!r}; write 'class,{column}' in its first line")
    entries = []
    for number, row in records:
        name, value = ((row.get(found[key]) or "").strip() for key in ("class", column))
        if not name:
            raise DataError(f"{path} row {number}: the class is empty; fill it in or remove the row")
        entries.append((f"{path} row {number}", name, value))
    return entries


def _from_mapping(path: Path, text: str, column: str) -> list[tuple[str, str, Any]]:
    json = path.suffix.lower() == ".json"
    content = load_json(text, str(path)) if json else load_yaml(text, str(path), words=True)
    if not isinstance(content, dict):
        kind = {"list": "a list", "str": "one text"}.get(type(content).__name__, "nothing that has names")
        raise DataError(f"{path}: holds {kind}; write one 'class: {column}' entry per class")
    for name in content:
        if not name.strip():
            raise DataError(f"{path}: a class without a name; write one 'class: {column}' entry per class")
    return [(str(path), name, value) for name, value in content.items()]
