"""Tables in memory, of pandas, polars or Arrow, as the rows of a manifest; none of these packages is asked for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any

from acclimate.data.ordering import some
from acclimate.data.tables import Record, cells_of
from acclimate.errors import DataError

_PROTOCOLS = ("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__")
_MISSING = ("NAType", "NaTType")  # of pandas, which are equal to nothing and neither true nor false


def is_frame(source: object) -> bool:
    """Return whether something is a table in memory with named columns."""
    kind = type(source)
    named = hasattr(kind, "column_names") or hasattr(kind, "columns")
    return named and not of_datasets(source) and any(hasattr(kind, name) for name in _PROTOCOLS)


def of_datasets(source: object) -> bool:
    """Return whether something is an object of the package `datasets`, which need not be installed."""
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(source).__mro__)


def frame_columns(frame: Any) -> list[Any]:
    """Return the names of the columns, which need not be texts."""
    return list(frame.column_names if hasattr(type(frame), "column_names") else frame.columns)


def read_frame(frame: Any, wanted: Iterable[str], several: Collection[str] = ()) -> tuple[str, list[str], list[Record]]:
    """Return what messages call a table, its columns, and its rows with their numbers, from 0.

    Args:
        frame: the table.
        wanted: columns in lower case, which alone are read.
        several: those of them in which a cell may be a list of texts.

    Raises:
        DataError: two columns of one name, or a cell is neither text nor a number.
    """
    title, names, known = type(frame).__name__, frame_columns(frame), set(wanted)
    twice = [str(name) for name in names if names.count(name) > 1]
    if twice:
        raise DataError(
            f"{title}: two columns are named {twice[0]!r}; rename one of them ({some(list(map(str, names)))})"
        )
    chosen = [name for name in names if str(name).strip().lower() in known]
    cells = [[_known(value) for value in _values(frame[name])] for name in chosen]
    rows = (dict(zip(map(str, chosen), values, strict=True)) for values in zip(*cells, strict=True))
    records = [(number, cells_of(row, f"{title} row {number}", known, several)) for number, row in enumerate(rows)]
    return title, list(map(str, names)), records


def _values(column: Any) -> list[Any]:
    return list(column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())


def _known(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return None if type(value).__name__ in _MISSING else value
