"""`metadata.csv` of Hugging Face image folders: a table with a column `file_name`, beside the images or in each split.

See https://huggingface.co/docs/datasets/image_dataset#imagefolder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from acclimate.data.held.labelling import usual_label
from acclimate.data.manifests import OPTIONAL, collect
from acclimate.data.ordering import some
from acclimate.data.rows import Remark, Rows, split_of
from acclimate.data.tables import SUFFIXES, Record, read_table

log = logging.getLogger("acclimate.data")

FILE_NAME, LABELS = "file_name", ("label", "labels", "class", "category")


def find_metadata(folder: Path) -> list[Path]:
    """Return the table of a folder, or those of the splits in it; none where there are no such files."""
    here = _table_in(folder)
    if here is not None:
        return [here]
    splits = sorted(entry.path for entry in os.scandir(folder) if split_of(entry.name) and entry.is_dir())
    return [table for split in splits if (table := _table_in(Path(split))) is not None]


def read_metadata(folder: Path, files: list[Path]) -> Rows | Remark:
    """Read the tables as a manifest; where they have no labels, return what to say about it.

    Raises:
        DataError: as for a manifest, or several columns may be that of labels.
    """
    label = ""
    records: list[Record] = []
    for file in files:
        columns, rows = read_table(file, (FILE_NAME, *LABELS, *OPTIONAL))
        found = {column.strip().lower(): column for column in reversed(columns)}
        label = usual_label(str(file.relative_to(folder)), columns, LABELS) or ""
        if FILE_NAME not in found or not label:
            text = (
                f"{file.relative_to(folder)} is not used, for among its columns {some(columns, 10)} there is no "
                f"{'label' if FILE_NAME in found else FILE_NAME}; classes are read from the folders. Captions are read "
                "from a captions.csv with the columns image,caption"
            )
            return Remark("warning", "unused_table", text, (str(file.relative_to(folder)),))
        records += _as_manifest(file, folder, rows, found, label)
    names = some([str(file.relative_to(folder)) for file in files])
    log.info("%s: reading the column %s of %s; `layout='class'` reads the folders", folder, label, names)
    columns = ["path", "label", *OPTIONAL]
    return collect(names, folder.resolve().name, columns, records, folder)


def _table_in(folder: Path) -> Path | None:
    files = (folder / f"metadata{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def _as_manifest(
    file: Path, folder: Path, rows: Iterator[Record], found: dict[str, str], label: str
) -> Iterator[Record]:
    """Yield the rows under the columns of a manifest, their paths below `folder`."""
    above = file.parent.relative_to(folder).as_posix()
    for number, row in rows:
        name = (row.get(found[FILE_NAME]) or "").strip()
        given = {field: row.get(found[field]) or "" for field in OPTIONAL if field in found}
        split = given.get("split") or (above if above != "." else "")
        path = f"{above}/{name}" if name and above != "." else name
        yield number, {**given, "path": path, "label": row.get(label) or "", "split": split}
