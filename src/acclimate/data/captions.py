"""`CaptionData`: images with sentences about each, for retrieval."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.coco import find_coco_captions, name_of_json, read_coco_captions
from acclimate.data.dataset import ImageData
from acclimate.data.frames import frame_columns, is_frame
from acclimate.data.load import is_path, settle_split
from acclimate.data.ordering import some
from acclimate.data.splits import STABLE, Rule, SplitPlan
from acclimate.data.tables import SUFFIXES, read_table
from acclimate.data.texts import LABEL, PATH, TextReader, folder_of, name_of, open_table, to_data
from acclimate.errors import DataError
from acclimate.files import fingerprint

log = logging.getLogger("acclimate.data")

CAPTION = "caption"


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
    `label`: its path, or the table itself where it is one in memory; or the files of captions as COCO publishes them.
    """
    if is_frame(source):
        columns = {str(column).strip().lower() for column in frame_columns(source)}
        return source if CAPTION in columns and "label" not in columns else None
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        return None
    path = Path(source).expanduser()
    if os.path.isdir(path):
        table = next((path / f"captions{end}" for end in SUFFIXES if (path / f"captions{end}").is_file()), None)
        return table or find_coco_captions(path) or None
    if not os.path.isfile(path) or path.suffix.lower() not in SUFFIXES:
        return find_coco_captions(path) or None
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
            pandas or polars, or an Arrow table); or captions as COCO publishes them, a `.json` file or a folder with
            `captions_train2014.json` and the like; or `CaptionData`, which is returned as it is unless `split_from` is
            given.
        images_root: the folder to which paths are relative; by default that of the table, or the working directory.
        split_seed, split_rule, split_from, on_corrupt: as in `load_data`.

    Raises:
        DataError: columns, captions or images that are missing, or splits that contradict one another; it names the
            rows.
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
    root = folder_of(images_root)
    if isinstance(table, tuple):
        name, tables = name_of_json(Path(source).expanduser(), table), read_coco_captions(table, root)
    else:
        name, tables = name_of(table), [open_table(table, _Reader, root)]
    reader = _Reader(name, several=len(tables) > 1)
    for one in tables:
        reader.read(one)
    rows = reader.finish()
    return to_data(CaptionData, rows, plan, split_from, on_corrupt, reader.captions())


class _Reader(TextReader):
    """Captions, gathered by their images."""

    wanted = lists = (CAPTION,)
    example = "image,caption"
    each = "caption"

    def __init__(self, name: str, several: bool = False) -> None:
        super().__init__(name, several)
        self.by_key: dict[str, list[str]] = {}

    def begin(self) -> None:
        """Find the columns of images and captions."""
        self.path, self.caption = self.column(PATH), self.column((CAPTION,))

    def row(self, number: int, record: Mapping[str, Any]) -> None:
        """Take in a caption, or several of one image."""
        raw, sentences = (record.get(self.path) or "").strip(), _sentences(record.get(self.caption))
        for value, column in ((raw, self.path), (sentences and all(sentences), self.caption)):
            if not value:
                self.refuse(number, f"the {column} is empty")
                return
        place = self.place(number, record, raw)
        if place is None:
            return
        if place.key not in self.by_key:
            self.rows.add(place.key, place.path, LABEL, group=place.group, split=place.split)
        self.by_key.setdefault(place.key, []).extend(sentences)

    def captions(self) -> dict[str, tuple[str, ...]]:
        """Return the captions of each image, each once."""
        repeated = [key for key, texts in self.by_key.items() if len(set(texts)) < len(texts)]
        if repeated:
            count = counted(len(repeated), "image has", "images have")
            log.info("%s: %s a caption twice: %s", self.title, count, some(repeated))
        return {key: tuple(dict.fromkeys(texts)) for key, texts in self.by_key.items()}


def _sentences(cell: str | list[str] | None) -> list[str]:
    """Return the captions in a cell, which may hold several, each on one line."""
    return [" ".join(text.split()) for text in ([cell or ""] if not isinstance(cell, list) else cell)]
