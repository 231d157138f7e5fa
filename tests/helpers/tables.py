"""Data sets of one pixel a picture: protocols look at names, labels, groups and bytes, never at pixels."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
from PIL import Image

from acclimate.data import ImageData
from acclimate.protocols import Trial


def _pixel() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG")
    return stream.getvalue()


PIXEL = _pixel()


class Row(NamedTuple):
    label: str
    split: str = ""
    domain: str = ""
    group: str = ""
    content: str = ""  # rows of one content are copies of each other; "" is a content of its own


def table(folder: Path, rows: Iterable[Row], name: str = "made", origin: str = "given") -> ImageData:
    """Write one file for every row and return them as data."""
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list] = {key: [] for key in ("key", "path", "label", "domain", "group", "split")}
    for number, row in enumerate(rows):
        path = folder / f"{number:04}.png"
        path.write_bytes(PIXEL + (row.content or str(path)).encode())  # what follows the end of a PNG changes nothing
        values = (path.name, str(path), row.label, row.domain, row.group, row.split)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    classes = tuple(sorted(set(columns["label"])))
    return ImageData(name, pa.table(columns), classes, origin)


def grid(classes: Iterable[str], splits: dict[str, int], domains: Iterable[str] = ("",)) -> list[Row]:
    """Return so many rows of every class in every split of every domain."""
    return [
        Row(label, split, domain)
        for domain in domains
        for label in classes
        for split, count in splits.items()
        for _ in range(count)
    ]


def images(data: ImageData) -> set[str]:
    return set(data.keys)


def leaks(trial: Trial) -> list[str]:
    """Return what training and validation share with the tests: names, groups or bytes of images."""
    found = []
    for seen in (trial.train, trial.val):
        for test in trial.tests.values():
            if seen.name == test.name:
                found += sorted(set(seen.keys) & set(test.keys))
                found += sorted(set(seen.groups) & set(test.groups) - {""})
            found += sorted({seen.digest(row) for row in range(len(seen))} & {test.digest(n) for n in range(len(test))})
    return found


def metrics(accuracy: float) -> dict:
    """Return metrics as a record holds them."""
    values = {"accuracy": accuracy, "balanced_accuracy": accuracy / 2, "macro_f1": 0.25, "ece": 0.1, "nll": 1.5}
    return {name: {"value": value, "low": 0.0, "high": 1.0} for name, value in values.items()} | {"per_class": {}}
