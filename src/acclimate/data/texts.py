"""Tables of texts about images: what reading captions and reading questions have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.dataset import ImageData
from acclimate.data.frames import is_frame, read_frame
from acclimate.data.load import build_data, settle_split, without_corrupt
from acclimate.data.manifests import key_of, resolve, split_meant, table_name
from acclimate.data.ordering import some
from acclimate.data.rows import Rows, tidy
from acclimate.data.splits import SplitPlan
from acclimate.data.tables import Record, read_table
from acclimate.errors import DataError, brief

PATH, OPTIONAL = ("image", "path", "file_name"), ("split", "group")
LABEL = "image"  # the one class of images that have none
SHOWN = 5  # rows that a message names

T = TypeVar("T", bound=ImageData)


class TextTable(NamedTuple):
    """Texts about images, a row each, of one file or of a table in memory.

    Attributes:
        title: of the table, for messages.
        columns: of the table.
        records: its rows.
        root: folder that paths start from.
        row: what its rows are called.
        bad: what is wrong with it that its rows do not show.
    """

    title: str
    columns: list[str]
    records: Iterable[Record]
    root: Path
    row: str = "row"
    bad: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where an image of a row lies, and what is said of it."""

    key: str
    path: str
    split: str
    group: str


class TextReader:
    """Rows of tables of texts, checked; all bad ones are named together.

    Args:
        name: of the data.
        several: whether there are several tables, so that messages must say which.

    Attributes:
        wanted: columns that are read, beside those of images and `OPTIONAL`.
        lists: those of them in which a cell may be a list of texts.
        example: the columns as people write them.
        each: what there is a row for.
    """

    wanted: ClassVar[tuple[str, ...]]
    lists: ClassVar[tuple[str, ...]]
    example: ClassVar[str]
    each: ClassVar[str]

    def __init__(self, name: str, several: bool = False) -> None:
        self.rows, self.several, self.bad = Rows(name), several, list[str]()
        self.columns: dict[str, str] = {}
        self.splits: dict[str, tuple[str, str]] = {}
        self.found: dict[tuple[Path, str], tuple[str, str] | None] = {}
        self.title, self.missing = name, False

    def read(self, table: TextTable) -> None:
        """Take in the rows of a table.

        Raises:
            DataError: a column is missing.
        """
        self.columns = {column.strip().lower(): column for column in reversed(table.columns)}
        self.table, self.title = table, self.rows.name if self.several else table.title
        self.begin()
        self.bad += [self._told(what) for what in table.bad]
        for number, record in table.records:
            self.row(number, record)

    def begin(self) -> None:
        """Look at the columns of a table.

        Raises:
            DataError: one is missing.
        """
        raise NotImplementedError

    def row(self, number: int, record: Mapping[str, Any]) -> None:
        """Take in a row, or note what is wrong with it."""
        raise NotImplementedError

    def finish(self) -> Rows:
        """Return the rows.

        Raises:
            DataError: there is none, or some are bad.
        """
        if self.bad:
            told = "; ".join(self.bad[:SHOWN])
            more = f"; and {len(self.bad) - SHOWN} more" if len(self.bad) > SHOWN else ""
            step = ", or give `images_root`" if self.missing else ""
            count = counted(len(self.bad), "bad row")
            raise DataError(f"{self.title}: {count}: {told}{more}; mend or remove them{step}")
        if not len(self.rows):
            raise DataError(f"{self.title}: no rows; add one row per {self.each} with {self.example}")
        return self.rows

    def column(self, names: tuple[str, ...]) -> str:
        """Return the first of some columns that the table has.

        Raises:
            DataError: it has none of them.
        """
        column = next((self.columns[name] for name in names if name in self.columns), None)
        if column is None:
            have = some(self.table.columns, 20) or "no columns"
            raise DataError(
                f"{self.table.title}: no column {names[0]!r} among {have}; write '{self.example}' in its first line"
            )
        return column

    def refuse(self, number: int, what: str) -> None:
        """Note what is wrong with a row."""
        self.bad.append(self._told(f"{self.table.row} {number}: {what}"))

    def _told(self, what: str) -> str:
        return f"{self.table.title} {what}" if self.several else what

    def place(self, number: int, record: Mapping[str, Any], raw: str) -> Place | None:
        """Return the image that a row names; none where there is no such image, or its split is another elsewhere.

        Raises:
            DataError: its split is none.
        """
        root = self.table.root
        split, group = (tidy(record.get(self.columns.get(name, "")) or "") for name in OPTIONAL)
        if (root, raw) not in self.found:
            path = resolve(root, raw)
            self.found[root, raw] = None if path is None else (key_of(root, path), path)
        found = self.found[root, raw]
        if found is None:
            self.missing = True
            self.refuse(number, f"no such image {brief(raw, 120)!r} in {root}")
            return None
        (key, path), meant = found, split_meant(self.table.title, number, split)
        where = f"{self.table.row} {number}" + (f" of {self.table.title}" if self.several else "")
        first, before = self.splits.setdefault(key, (where, meant))
        if before != meant:
            self.refuse(number, f"{key!r} has split {meant!r}, but {before!r} in {first}")
            return None
        return Place(key, path, meant, group)


def open_table(table: Any, reader: type[TextReader], root: Path | None) -> TextTable:
    """Return a table in memory, or one of a file."""
    wanted = (*PATH, *reader.wanted, *OPTIONAL)
    if is_frame(table):
        return TextTable(*read_frame(table, wanted, several=reader.lists), root or Path.cwd())
    columns, records = read_table(table, wanted, several=reader.lists)
    return TextTable(table.name, columns, records, root or table.parent)


def name_of(table: Any) -> str:
    """Return what data are called that a table holds."""
    return "table" if is_frame(table) else table_name(table)


def folder_of(images_root: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder that paths start from, where one is given."""
    return None if images_root is None else Path(os.path.expanduser(arguments.path("images_root", images_root)))


def to_data(
    kind: Callable[..., T],
    rows: Rows,
    plan: SplitPlan,
    split_from: str | os.PathLike[str] | None,
    on_corrupt: Literal["error", "skip"],
    by_key: Mapping[str, Any],
) -> T:
    """Return data of a kind, with their split and their texts by the keys of the rows."""
    images = build_data(rows, None)
    if on_corrupt == "skip":
        images = without_corrupt(images)
    images = settle_split(images, plan, split_from)
    return kind(**{field.name: getattr(images, field.name) for field in fields(images)}, by_key=by_key)
