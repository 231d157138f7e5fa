"""`CaptionData`: images with sentences about each, for retrieval."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.dataset import ImageData
from acclimate.data.frames import frame_columns, is_frame, read_frame
from acclimate.data.load import build_data, is_path, settle_split, without_corrupt
from acclimate.data.manifests import key_of, more_missing, resolve, split_meant, table_name
from acclimate.data.ordering import some
from acclimate.data.rows import Rows, tidy
from acclimate.data.splits import STABLE, Rule, SplitPlan
from acclimate.data.tables import SUFFIXES, Record, read_table
from acclimate.errors import DataError, brief
from acclimate.files import fingerprint

log = logging.getLogger("acclimate.data")

PATH, CAPTION, OPTIONAL = ("image", "path", "file_name"), "caption", ("split", "group")
LABEL = "image"  # the one class of images that have none


@dataclass(frozen=True, eq=False, repr=False)
class CaptionData(ImageData):
    """Images, all of one class, with captions of each.

    Attributes:
        by_key: the captions of each image, by its key; at least one, in the order of the source.
    """

    task: ClassVar[str] = "retrieval"

    by_key: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return name and size in a word."""
        captions = sum(len(texts) for texts in self.captions)
        return f"CaptionData({self.name!r}, {len(self)} images, {captions} captions, split {self.split_origin})"

    @property
    def captions(self) -> list[tuple[str, ...]]:
        """The captions of every image, in row order."""
        return [self.by_key[key] for key in self.keys]

    @cached_property
    def lessons(self) -> tuple[tuple[str, str], ...]:
        """What there is to learn where captions are written, each caption once, sorted: no question, and a caption."""
        return tuple(("", caption) for caption in sorted({text for texts in self.captions for text in texts}))

    def choices(self) -> list[list[int]]:
        """Return for each image which of the `lessons` can be learned of it."""
        places = {caption: number for number, (_, caption) in enumerate(self.lessons)}
        return [[places[text] for text in texts] for texts in self.captions]

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each image which question is asked (N,), the same, and what is answered (N,), of each its own."""
        return np.zeros(len(self), dtype=np.int64), np.arange(len(self))

    @property
    def fingerprint(self) -> str:
        """A hash of the captions with the names of their images."""
        return fingerprint({key: list(self.by_key[key]) for key in self.keys})


def find_captions(source: object) -> Any:
    """Return the table of captions that a source is or has, none where it is something else.

    That is a folder with `captions.csv` (or .tsv, .jsonl, .parquet), or a table with a column `caption` and no column
    `label`: its path, or the table itself where it is one in memory.
    """
    if is_frame(source):
        columns = {str(column).strip().lower() for column in frame_columns(source)}
        return source if CAPTION in columns and "label" not in columns else None
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        return None
    path = Path(source).expanduser()
    if os.path.isdir(path):
        return next((path / f"captions{end}" for end in SUFFIXES if (path / f"captions{end}").is_file()), None)
    if not os.path.isfile(path) or path.suffix.lower() not in SUFFIXES:
        return None
    try:
        columns = {column.strip().lower() for column in read_table(path, (CAPTION, "label"), several=(CAPTION,))[0]}
    except DataError:  # whoever loads it will say what is wrong
        return None
    return path if CAPTION in columns and "label" not in columns else None


def load_captions(
    source: str | os.PathLike[str] | CaptionData | Any,
    *,
    images_root: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    split_rule: Rule = STABLE,
    split_from: str | os.PathLike[str] | None = None,
    on_corrupt: Literal["error", "skip"] = "error",
) -> CaptionData:
    """Load images with captions, one row of a table a caption, or in JSON lines and Parquet a list of them.

    The images are read when they are used.

    A split that the table gives is kept; a table without one gets one, as in `load_data`.

    Args:
        source: a folder with `captions.csv` (or .tsv, .jsonl, .parquet), or such a table with the columns
            `image,caption[,split,group]` (`path` and `file_name` will do for `image`), also in memory (a DataFrame of
            pandas or polars, or an Arrow table), or `CaptionData`, which is returned as it is unless `split_from` is
            given.
        images_root: the folder to which paths are relative; by default that of the table, or the working directory.
        split_seed, split_rule, split_from, on_corrupt: as in `load_data`.

    Raises:
        DataError: columns, captions or images that are missing, or splits that contradict one another; it names the
            row.
        ConfigError: an option out of its range.
    """
    arguments.one_of("on_corrupt", on_corrupt, ("error", "skip"))
    plan = SplitPlan(rule=split_rule, seed=arguments.whole("split_seed", split_seed))
    if isinstance(source, CaptionData):
        return source if split_from is None else settle_split(source, plan, split_from)
    table = find_captions(source)
    if table is None:
        place = os.fspath(source) if is_path(source) else arguments.kind_of(source)
        raise DataError(
            f"{place}: no captions here; name a folder with captions.csv, or a table with the columns image,caption"
        )
    root = None if images_root is None else Path(os.path.expanduser(arguments.path("images_root", images_root)))
    records: Iterable[Record]
    if is_frame(table):
        title, columns, records = read_frame(table, (*PATH, CAPTION, *OPTIONAL), several=(CAPTION,))
        rows, captions = _collect(title, "table", columns, records, root or Path.cwd())
    else:
        columns, records = read_table(table, (*PATH, CAPTION, *OPTIONAL), several=(CAPTION,))
        rows, captions = _collect(table.name, table_name(table), columns, records, root or table.parent)
    images = build_data(rows, None)
    if on_corrupt == "skip":
        images = without_corrupt(images)
    images = settle_split(images, plan, split_from)
    known = {name.name: getattr(images, name.name) for name in fields(images)}
    return CaptionData(**known, by_key=captions)


def _collect(
    title: str, name: str, columns: list[str], records: Iterable[Record], root: Path
) -> tuple[Rows, dict[str, tuple[str, ...]]]:
    """Check the rows of a table of captions and gather those of each image; `title` names the table in messages."""
    found = {column.strip().lower(): column for column in reversed(columns)}
    path_column = next((found[field] for field in PATH if field in found), None)
    if path_column is None or CAPTION not in found:
        lacking = CAPTION if path_column is not None else PATH[0]
        raise DataError(
            f"{title}: no column {lacking!r} among {some(columns, 20) or 'no columns'}; write 'image,caption' in "
            "its first line"
        )
    rows = Rows(name)
    captions: dict[str, list[str]] = {}
    splits: dict[str, tuple[int, str]] = {}
    missing: list[tuple[int, str]] = []
    for number, record in records:
        raw, sentences = (record.get(path_column) or "").strip(), _sentences(record.get(found[CAPTION]))
        for value, column in ((raw, path_column), (sentences and all(sentences), CAPTION)):
            if not value:
                raise DataError(f"{title} row {number}: the {column} is empty; fill it in or remove the row")
        split, group = (tidy(record.get(found[field]) or "") if field in found else "" for field in OPTIONAL)
        meant = split_meant(title, number, split)
        path = resolve(root, raw)
        if path is None:
            missing.append((number, raw))
            continue
        key = key_of(root, path)
        if key not in captions:
            rows.add(key, path, LABEL, group=group, split=meant)
        elif splits[key][1] != meant:
            raise DataError(
                f"{title} row {number}: {key!r} has split {meant!r}, but {splits[key][1]!r} in row "
                f"{splits[key][0]}; keep one of the two"
            )
        splits.setdefault(key, (number, meant))
        captions.setdefault(key, []).extend(sentences)
    if missing:
        number, raw = missing[0]
        raise DataError(
            f"{title} row {number}: no such image {brief(raw, 120)!r} (looked in {root})"
            f"{more_missing(len(missing) - 1)}; correct the paths or give `images_root`"
        )
    if not len(rows):
        raise DataError(f"{title}: no rows; add one row per caption with image,caption")
    repeated = [key for key, texts in captions.items() if len(set(texts)) < len(texts)]
    if repeated:
        count = counted(len(repeated), "image has", "images have")
        log.info("%s: %s a caption twice: %s", title, count, some(repeated))
    return rows, {key: tuple(dict.fromkeys(texts)) for key, texts in captions.items()}


def _sentences(cell: str | list[str] | None) -> list[str]:
    """Return the captions in a cell, which may hold several, each on one line."""
    return [" ".join(text.split()) for text in ([cell or ""] if not isinstance(cell, list) else cell)]
