"""Arrow columns from Python and NumPy values.

They are made from buffers, because `pyarrow.array` imports pandas wherever it is installed, and that takes longer than
all the rest of loading a data set. (pyarrow turns whatever else it is given, such as rows to take, into an array too.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
