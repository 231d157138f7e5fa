"""Shards as data: what they say of their images as rows, and the images one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from acclimate.data.held.labelling import Facts
from acclimate.data.held.names import TAR, find_shards, splits_of
from acclimate.data.held.parquet import ParquetShard
from acclimate.data.held.spool import Spool
from acclimate.data.held.stores import ChainedImages, Images, Parts, Store
from acclimate.data.held.webdataset import TarShard
from acclimate.data.images import decoding, open_image, warn
from acclimate.data.manifests import split_meant
from acclimate.data.rows import Gaps, Rows, tidy
from acclimate.errors import DataError
from acclimate.opening import read_bytes


class Shard(Protocol):
    """A file with images, see `ParquetShard` and `TarShard`."""

    file: Path
    names: list[str]

    def facts(self, labelled: bool) -> Iterator[Facts]:
        """Yield what is said of each image."""
        ...

    def cell(self, row: int) -> dict[str, Any]:
        """Return an image as `ImageData.store` has it."""
        ...


class ShardImages(Images):
    """The images of several shards, one after the other.

    Args:
        shards: one or more.
    """

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards, self._parts = shards, Parts(len(shard.names) for shard in shards)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._parts)

    def cell(self, row: int) -> dict[str, Any]:
        """Return the image of a row."""
        found = self.image(row)
        return found.shard.cell(found.row)

    def image(self, row: int) -> HeldImage:
        """Return the image of a row by its place."""
        number, place = self._parts.find(row)
        return HeldImage(self.shards[number], place)


@dataclass(frozen=True)
class HeldImage:
    """An image in a file that holds many.

    Attributes:
        shard: the file.
        row: its place among the images there.
    """

    shard: Shard
    row: int

    def __str__(self) -> str:
        """Return the name of the file, and of the image in it."""
        return f"{self.shard.file}/{self.shard.names[self.row]}"

    @classmethod
    def at(cls, path: Path) -> HeldImage | None:
        """Return the image that a path below a shard names, as `str` gives it; none where there is no such image."""
        file = next((above for above in path.parents if os.path.isfile(above)), None)
        if file is None or find_shards(file) != [file]:
            return None
        shard, name = _opened(file, file.stat().st_mtime_ns), path.relative_to(file).as_posix()
        return cls(shard, shard.names.index(name)) if name in shard.names else None

    def open(
        self,
        min_side: int | None = None,
        notice: Callable[[str, str], None] = warn,
        bands: Sequence[int] | None = None,
    ) -> Image.Image:
        """Return the image as RGB, see `acclimate.data.open_image`.

        Raises:
            DataError: it cannot be read.
        """
        with decoding(str(self)):
            content = self.read()
        return open_image(content, min_side, name=str(self), notice=notice, bands=bands)

    def read(self) -> bytes:
        """Return the bytes of the image; none where the file has none.

        Raises:
            OSError: it cannot be read.
        """
        cell = self.shard.cell(self.row)
        if cell["bytes"] is None and cell["path"]:
            return read_bytes(cell["path"])
        return cell["bytes"] or b""


def open_shards(files: Sequence[Path]) -> list[Shard]:
    """Return the shards in files that `find_shards` has found."""
    spool = Spool()
    return [TarShard(file) if file.suffix.lower() == TAR else ParquetShard(file, spool) for file in files]


def image_at(store: Store | None, row: int) -> HeldImage | None:
    """Return the image of a row of a store, see `ImageData.store`, by its place; none where it is held in memory."""
    if isinstance(store, ChainedImages):
        return image_at(*store.within(row))
    return store.image(row) if isinstance(store, ShardImages) else None


def open_place(
    path: str | os.PathLike[str], min_side: int | None = None, bands: Sequence[int] | None = None
) -> Image.Image:
    """Return the image of a file, or one in a shard that is named by its place, as RGB, see `open_image`.

    Raises:
        DataError: it cannot be read.
    """
    held = None if os.path.isfile(path) else HeldImage.at(Path(path))
    return open_image(path, min_side, bands=bands) if held is None else held.open(min_side, bands=bands)


def is_place(path: str) -> bool:
    """Return whether a path names an image that is there: a file, or the place of one in a shard."""
    return os.path.isfile(path) or HeldImage.at(Path(path)) is not None


class PlacedImages(Images):
    """Images at places, see `open_place`, as `ImageData.store` has them.

    Args:
        places: those of the images.
    """

    def __init__(self, places: Sequence[str]) -> None:
        self._places = places

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._places)

    def cell(self, row: int) -> dict[str, Any]:
        """Return the image of a row."""
        place = self._places[row]
        held = HeldImage.at(Path(place))
        return held.shard.cell(held.row) if held else {"bytes": None, "path": place}


@lru_cache(maxsize=8)
def _opened(file: Path, changed: int) -> Shard:
    """Return a shard that was changed at a time, in nanoseconds; those of late are kept."""
    return open_shards([file])[0]


def has_labels(files: Sequence[Path]) -> bool:
    """Return whether the first image of files that `find_shards` has found has a label."""
    try:
        return next(open_shards(files[:1])[0].facts(labelled=True), None) is not None
    except DataError:  # whoever reads them says what is wrong
        return False


def held_images(files: Sequence[Path]) -> Iterator[HeldImage]:
    """Yield the images of files that `find_shards` has found; one file is opened after the other."""
    for file in files:
        (shard,) = open_shards([file])
        for row in range(len(shard.names)):
            yield HeldImage(shard, row)


def read_held(source: str | os.PathLike[str], files: list[Path], labelled: bool = True) -> tuple[Rows, ShardImages]:
    """Read what shards say of their images; return that as rows, and the images.

    A split that a row names counts before the one that the name of its file means.

    Args:
        source: what was named: a file, a folder, or a pattern.
        files: what `find_shards` has found there.
        labelled: whether every image has a label.

    Raises:
        DataError: an image without a label, a split of unknown meaning, or a file that is damaged.
    """
    above = Path(os.path.commonpath([file.resolve().parent for file in files]))
    rows = Rows(_name(Path(source), files, above))
    shards = open_shards(files)
    for shard, split in zip(shards, splits_of(files), strict=True):
        file = shard.file.resolve().relative_to(above).as_posix()
        gaps = Gaps(file)
        for number, (name, facts) in enumerate(zip(shard.names, shard.facts(labelled), strict=True)):
            told = {key: tidy(text) for key, text in facts._asdict().items()}
            told["split"] = split_meant(file, number, told["split"]) or split
            rows.add(f"{file}/{tidy(name)}", None, told.pop("label"), **told)
            gaps.note(number, told | {"label": rows.labels[-1]})
        rows.remarks += gaps.remarks()
    if len(set(rows.keys)) < len(rows):
        raise DataError(f"{rows.name}: two images have the same name in a file; give each its own")
    rows.settle_numbers()
    return rows, ShardImages(shards)


def _name(source: Path, files: list[Path], above: Path) -> str:
    """Return what the data are called: as the folder or the file that was named, or the folder of a pattern."""
    if os.path.isdir(source.expanduser()):
        return source.expanduser().resolve().name
    return files[0].stem if len(files) == 1 else above.name
