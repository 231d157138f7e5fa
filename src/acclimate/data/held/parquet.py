"""Parquet files with images in them, as `datasets` and the Hub write them.

A column holds for each row `{bytes, path}`, or the bytes alone. What its features are, and what the numbers of a
`ClassLabel` mean, stands as JSON under `huggingface` in the metadata of the schema. A row group, which is read as a
whole, may be large and compressed: it is read once, a few rows at a time, into a `Spool`, when the first of its images
is used.
"""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data.held.labelling import IMAGES, LABELS, Facts, in_usual_order, usual_label
from acclimate.data.held.spool import Spool
from acclimate.data.held.stores import Parts
from acclimate.data.ordering import some
from acclimate.data.tables import read_table
from acclimate.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("acclimate.data")

_OTHERS = Facts._fields[1:]
_AT_ONCE = 32  # rows that are held in memory while a row group is read


def holds_images(file: Path) -> bool:
    """Return whether a Parquet file has a column of images rather than one with their paths."""
    import pyarrow
    import pyarrow.parquet

    try:
        return bool(_image_columns(pyarrow.parquet.read_schema(file)))
    except (pyarrow.ArrowException, OSError, ValueError):  # whoever reads it as a table says what is wrong
        return False


class ParquetShard:
    """The images of a Parquet file.

    Args:
        file: it `holds_images`.
        spool: keeps what was read.

    Attributes:
        names: of the images within the file: the number of the row, from 0.
    """

    def __init__(self, file: Path, spool: Spool) -> None:
        import pyarrow.parquet

        self.file, self._spool = file, spool
        parquet = pyarrow.parquet.ParquetFile(file)
        columns = in_usual_order(_image_columns(parquet.schema_arrow))
        if len(columns) > 1:
            log.info("%s: reading images from column %r, not %s", file.name, columns[0], some(columns[1:]))
        self._column = columns[0]
        self._others = [name for name in parquet.schema_arrow.names if name not in columns]
        self._meanings = _class_names(parquet.schema_arrow)
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        self._groups = Parts(sizes)
        self._read: dict[int, list[tuple[int, int, str | None]]] = {}  # of each row group the places in the spool
        self._lock = threading.Lock()
        self.names = [f"{row:09d}" for row in range(parquet.metadata.num_rows)]

    def __getstate__(self) -> dict[str, Any]:
        """Return all but what was read, which stays in this process."""
        return {**self.__dict__, "_read": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= {**state, "_lock": threading.Lock()}

    def facts(self, labelled: bool) -> Iterator[Facts]:
        """Yield what is said of each image.

        Args:
            labelled: whether a label is asked for.

        Raises:
            DataError: there is no column of labels, or several; or a row has none.
        """
        title = self.file.name
        classes = [name for name in self._meanings if name in self._others]
        label = usual_label(title, self._others, LABELS, classes) if labelled else None
        if labelled and label is None:
            raise DataError(
                f"{title}: no label column among {some(self._others, 20) or 'no others'}; rename the one that holds "
                "the class to 'label'"
            )
        wanted = [*([label.strip().lower()] if label else []), *_OTHERS]
        columns, rows = read_table(self.file, wanted)
        found = {name: column for name in _OTHERS for column in columns if column.strip().lower() == name}
        if not found and label is None:
            yield from (Facts() for _ in self.names)
            return
        for number, cells in rows:
            told = {name: self._meant(column, cells) for name, column in found.items()}
            text = self._meant(label, cells) if label else ""
            if labelled and not text:
                raise DataError(f"{title} row {number}: no label in column {label!r}; label it or remove the row")
            yield Facts(label=text, **told)

    def _meant(self, column: str, cells: Mapping[str, str]) -> str:
        """Return what a cell says; of a number of a class the name, "" of -1, which means that there is none."""
        text, names = cells[column], self._meanings.get(column)
        if names is None or not text.lstrip("-").isdecimal():
            return text
        return names[int(text)] if 0 <= int(text) < len(names) else ""

    def cell(self, row: int) -> dict[str, Any]:
        """Return the image of a row as `ImageData.store` has it: its `bytes`, or the `path` of its file, or neither.

        Raises:
            OSError: the file is damaged, or the disk is full.
        """
        group, place = self._groups.find(row)
        with self._lock:
            if group not in self._read:
                self._read[group] = self._keep(group)
        start, size, path = self._read[group][place]
        content = self._spool.read(start, size) if size else None
        return {"bytes": content, "path": None if content or not path else str(self.file.parent / path)}

    def _keep(self, group: int) -> list[tuple[int, int, str | None]]:
        """Put the images of a row group into the spool; return of each where it begins, its size, and its path."""
        places = []
        for cell in self._cells(group):
            content, path = (cell, None) if isinstance(cell, bytes) else (cell["bytes"], cell.get("path"))
            places.append((self._spool.add(content or b""), len(content or b""), path))
        return places

    def _cells(self, group: int) -> Iterator[Any]:
        import pyarrow
        import pyarrow.parquet

        try:
            file = pyarrow.parquet.ParquetFile(self.file, buffer_size=1 << 20, pre_buffer=False)
            for batch in file.iter_batches(_AT_ONCE, row_groups=[group], columns=[self._column]):
                for cell in batch.column(0):
                    yield cell.as_py() or b""
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:120]
            raise OSError(errno.EIO, f"{self.file.name} is gone or damaged ({reason})") from error


def _features(schema: pa.Schema) -> dict[str, Any]:
    """Return what `datasets` says of the columns; nothing where it was not written by it."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _image_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that hold images: those that say so, and bytes under a usual name."""
    features = _features(schema)
    return [field.name for field in schema if _is_of_images(field, features.get(field.name))]


def _is_of_images(field: pa.Field, feature: Any) -> bool:
    import pyarrow as pa

    def is_bytes(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    kind = field.type
    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        is_image = isinstance(feature, dict) and feature.get("_type") == "Image"
        return place >= 0 and is_bytes(kind.field(place).type) and (is_image or field.name.lower() in IMAGES)
    return is_bytes(kind) and field.name.lower() in IMAGES


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes that the numbers of a column mean, by the column."""
    features = _features(schema).items()
    classes = {
        name: one["names"] for name, one in features if isinstance(one, dict) and one.get("_type") == "ClassLabel"
    }
    return {name: list(map(str, names)) for name, names in classes.items() if isinstance(names, list)}
