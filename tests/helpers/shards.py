"""Small pictures in files that hold many: Parquet as the Hub has it, and shards of WebDataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.pictures import CLASSES, picture


def encoded(number: int, index: int) -> bytes:
    """Return a picture as a PNG file."""
    stream = io.BytesIO()
    picture(number, index).save(stream, "PNG")
    return stream.getvalue()


def pictures(per_class: int = 4, seed: int = 0) -> list[tuple[bytes, int]]:
    """Return pictures with the numbers of their classes."""
    return [(encoded(number, 100 * seed + i), number) for i in range(per_class) for number in range(len(CLASSES))]


def write_hub_parquet(
    file: Path,
    rows: Sequence[tuple[bytes | None, int]],
    names: Sequence[str] = CLASSES,
    row_group_size: int = 5,
    **more: Sequence[str],
) -> Path:
    """Write images and labels as `datasets` does, a ClassLabel with its names in the metadata of the schema."""
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    images = pa.array([{"bytes": content, "path": f"{place}.png"} for place, (content, _) in enumerate(rows)])
    columns = {"image": images, "label": pa.array([label for _, label in rows], pa.int64()), **more}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file, row_group_size=row_group_size)
    return file


def write_tar(file: Path, files: Mapping[str, bytes]) -> Path:
    """Write an archive of files by their names."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def write_shard(file: Path, rows: Sequence[tuple[bytes, int]], texts: str = "cls", **more: Any) -> Path:
    """Write pictures with their classes as a shard of WebDataset; `texts` is the ending of the files of labels."""
    files: dict[str, bytes] = {}
    for place, (content, number) in enumerate(rows):
        said = json.dumps({"label": CLASSES[number], **more}) if texts == "json" else CLASSES[number]
        files |= {f"{place:04}.png": content, f"{place:04}.{texts}": said.encode()}
    return write_tar(file, files)
