"""Arrow columns from Python and NumPy values.

They are made from buffers, because `pyarrow.array` imports pandas wherever it is installed, and that takes longer than
all the rest of loading a data set. (pyarrow turns whatever else it is given, such as rows to take, into an array too.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike


def text_table(columns: Mapping[str, Sequence[str | None]]) -> pa.Table:
    """Return columns of text, all of the same length, as a table."""
    return pa.table({name: texts(values) for name, values in columns.items()})


def texts(values: Sequence[str | None]) -> pa.LargeStringArray:
    """Return a column of text, in which None is a missing value; "large" has no limit of 2 GiB."""
    encoded = [b"" if value is None else value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    present = np.packbits(np.array([value is not None for value in values], dtype=bool), bitorder="little")
    buffers = [pa.py_buffer(part) for part in (present, offsets, b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def integers(values: ArrayLike) -> pa.Int64Array:
    """Return a column of whole numbers, (N,)."""
    numbers = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def floats(values: ArrayLike) -> pa.FloatArray:
    """Return a column of numbers in single precision, (N,)."""
    numbers = np.ascontiguousarray(values, dtype=np.float32)
    return pa.Array.from_buffers(pa.float32(), len(numbers), [None, pa.py_buffer(numbers)])


def flags(values: ArrayLike) -> pa.BooleanArray:
    """Return a column of truth values, (N,)."""
    bits = np.ascontiguousarray(values, dtype=bool)
    return pa.Array.from_buffers(pa.bool_(), len(bits), [None, pa.py_buffer(np.packbits(bits, bitorder="little"))])


def column(values: ArrayLike | Sequence[str | None]) -> pa.Array:
    """Return a column of what an array of numbers or truth values, or a sequence of texts, holds."""
    if not isinstance(values, np.ndarray):
        return texts(cast("Sequence[str | None]", values))
    makers = {"b": flags, "i": integers, "f": floats}
    return makers[values.dtype.kind](values)
