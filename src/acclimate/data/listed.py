"""Lists of images: tables on disk with a column of paths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from acclimate.data.ordering import some
from acclimate.data.tables import SUFFIXES, read_table
from acclimate.errors import DataError

PATHS = ("path", "image", "file_name")
"""Columns of a table with the files of images, the first that it has."""


def is_list(file: Path) -> bool:
    """Return whether a path is that of a table."""
    return file.suffix.lower() in SUFFIXES and file.is_file()


def listed_images(file: Path) -> Iterator[Path]:
    """Yield the images that a table names, in its order; a relative path starts at the folder of the table.

    Raises:
        DataError: it cannot be read, has no column of paths, or a row has no path.
    """
    columns, rows = read_table(file, PATHS)
    found = {column.strip().lower(): column for column in columns}
    column = next((found[name] for name in PATHS if name in found), None)
    if column is None:
        raise DataError(
            f"{file.name}: no column of paths among {some(columns, 20) or 'none'}; name it {' or '.join(PATHS)}"
        )
    for number, cells in rows:
        if not cells.get(column):
            raise DataError(f"{file.name} row {number}: no path in column {column!r}; write one or remove the row")
        yield file.parent / cells[column]
