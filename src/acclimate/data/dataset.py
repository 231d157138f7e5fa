"""`ImageData`: labelled images as a thin, immutable view on a table of names."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from acclimate.data.bands import Bands, named
from acclimate.data.cache import row_key
from acclimate.data.columns import integers, texts
from acclimate.data.held.reading import image_at
from acclimate.data.images import Notices, UnreadableImage, open_image
from acclimate.data.ordering import some
from acclimate.data.rows import Remark
from acclimate.data.tiffs import RULE, reading
from acclimate.errors import DataError
from acclimate.opening import read_bytes

if TYPE_CHECKING:
    from PIL import Image

COLUMNS = ("key", "path", "label", "domain", "group", "split")


@dataclass(frozen=True, eq=False, repr=False)
class ImageData:
    """Labelled images, of which nothing is read from disk until it is asked for.

    Rows are in the order of their keys, whatever order the source has, so that the same images give the same data
    everywhere.

    Attributes:
        name: what messages and file names call this data, such as the folder's name.
        table: columns `key` (unique, stable), `path` (None for images held in memory), `label`, `domain`, `group`,
            `split` ("train", "val", "test" or ""); "" means none. Data held in memory has also `row`, the row in
            `store`.
        class_names: sorted, or in the order of a published split list; those of the whole data set, also in a subset.
        split_origin: "given" by the source, or "made".
        split_made: how a made split was made, as plain values, see `SplitPlan`; none where it is given.
        skipped: corrupt files that were left out at load (`on_corrupt="skip"`), sorted.
        other_files: files of a folder source that are not images, sorted.
        store: the encoded images of a source whose images are no files of their own, else None: rows
            `{"image": {"bytes": ..., "path": ...}}`, of which either may be None; a row may raise an `OSError`.
        chosen: whether these are images that `split` or `select` has chosen, such as `data.train`; whoever gives them
            means all of them.
        remarks: what was noticed about the source at load, such as a class without an image that can be read.
        bands: those of its images that are shown, see `acclimate.data.open_image`; none: the first ones.
        sets: of several data sets that were joined and stay apart, the classes of each, by its name; the table has a
            column `set` then.
    """

    task: ClassVar[str] = "classification"  # what such data are for, see `acclimate.tasks`

    name: str
    table: pa.Table
    class_names: tuple[str, ...]
    split_origin: str = "made"
    skipped: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()
    store: Sequence[Mapping[str, Any]] | None = None
    chosen: bool = False
    remarks: tuple[Remark, ...] = ()
    split_made: Mapping[str, Any] | None = None
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bands: Bands | None = None
    _digests: dict[str, str] = field(default_factory=dict)  # by key, shared with subsets
    _readings: dict[str, str] = field(default_factory=dict)  # likewise
    _notices: Notices = field(default_factory=Notices)  # shared with subsets, too

    def __len__(self) -> int:
        """Return the number of images."""
        return self.table.num_rows

    def __repr__(self) -> str:
        """Return name and size in a word."""
        classes = len(self.class_names)
        return f"ImageData({self.name!r}, {len(self)} images, {classes} classes, split {self.split_origin})"

    def column(self, name: str) -> list[str]:
        """Return a text column as a list, in row order."""
        return self.table[name].to_pylist()

    @cached_property
    def keys(self) -> list[str]:
        """The stable name of every image."""
        return self.column("key")

    @cached_property
    def paths(self) -> list[str | None]:
        """The file of every image; None where it is held in memory."""
        return list(self.column("path"))

    @property
    def places(self) -> list[str | None]:
        """Where every image is: its file, or its name below that of a file with many; None where it is in memory."""
        if self.store is None:
            return self.paths
        held = [None if path else image_at(self.store, row) for path, row in zip(self.paths, self._rows, strict=True)]
        return [str(found) if found else path for path, found in zip(self.paths, held, strict=True)]

    @cached_property
    def groups(self) -> list[str]:
        """The group of every image; "" is a group of its own."""
        return self.column("group")

    @cached_property
    def domains(self) -> list[str]:
        """The acquisition domain of every image; "" where there is none."""
        return self.column("domain")

    @cached_property
    def splits(self) -> list[str]:
        """The split of every image: "train", "val", "test" or ""."""
        return self.column("split")

    @cached_property
    def labels(self) -> np.ndarray:
        """The class of every image, int64 (N,), an index into `class_names`."""
        index = {name: number for number, name in enumerate(self.class_names)}
        return np.array([index[label] for label in self.column("label")], dtype=np.int64)

    @property
    def label_names(self) -> list[str]:
        """The class of every image, by name."""
        return [self.class_names[label] for label in self.labels]

    @property
    def targets(self) -> np.ndarray:
        """What a method is told of every image: its class, int64 (N,), or of several labels bool (N, K)."""
        return self.labels

    @property
    def strata(self) -> list[str]:
        """What a split divides in proportion: the class of every image, by name."""
        return self.label_names

    def names_in(self, label: str) -> Sequence[str]:
        """Return the classes that a cell of the label column names: one."""
        return [label]

    @cached_property
    def domain_names(self) -> tuple[str, ...]:
        """The domains that occur, sorted, without ""."""
        return tuple(sorted(set(self.domains) - {""}))

    @cached_property
    def set_numbers(self) -> np.ndarray:
        """Which of the `sets` every image is of, int64 (N,)."""
        number = {name: place for place, name in enumerate(self.sets)}
        return np.array([number[name] for name in self.column("set")], dtype=np.int64)

    def of_set(self, name: str) -> Self:
        """Return the images of one of the `sets` as data with the classes of that set; they keep keys and splits."""
        own = self.select(self.set_numbers == list(self.sets).index(name))
        made = (self.split_made or {}).get("sets", {}).get(name)
        return dataclasses.replace(
            own, name=name, class_names=self.sets[name], sets={}, chosen=self.chosen, split_made=made
        )

    def counts(self) -> dict[str, int]:
        """Return how many images each class has, zero included, in the order of `class_names`."""
        found = Counter(self.labels.tolist())
        return {name: found.get(number, 0) for number, name in enumerate(self.class_names)}

    def members(self) -> list[list[int]]:
        """Return the rows of each class that images have."""
        found: dict[int, list[int]] = defaultdict(list)
        for row, label in enumerate(self.labels.tolist()):
            found[label].append(row)
        return list(found.values())

    def told(self) -> tuple[np.ndarray, np.ndarray]:
        """Return for each image which question is asked (N,), one for each of the `sets`, and what is answered (N,)."""
        return (self.set_numbers if self.sets else np.zeros(len(self), dtype=np.int64)), self.labels

    def once(self) -> tuple[ImageData, np.ndarray | None]:
        """Return data that have each image once, and for each row which it shows (N,); none where rows are images."""
        return self, None

    @property
    def train(self) -> Self:
        """The images of the training split."""
        return self.split("train")

    @property
    def val(self) -> Self:
        """The images of the validation split."""
        return self.split("val")

    @property
    def test(self) -> Self:
        """The images of the test split."""
        return self.split("test")

    def split(self, name: str) -> Self:
        """Return the images of split `name`, which may be none."""
        return self.select([row for row, split in enumerate(self.splits) if split == name])

    def select(self, indices: Iterable[int] | np.ndarray) -> Self:
        """Return the images at these rows, in this order, as data with the same classes.

        Args:
            indices: rows (negative ones count from the end), or a mask of N truth values.
        """
        wanted = np.asarray(indices if isinstance(indices, np.ndarray) else list(indices))
        rows = np.arange(len(self))[wanted if wanted.size else wanted.astype(np.int64)]
        return dataclasses.replace(self, table=self.table.take(integers(rows)), chosen=True)

    def with_splits(self, splits: Sequence[str], origin: str, made: Mapping[str, Any] | None = None) -> Self:
        """Return the same images with another `split` column; `origin` is "given" or "made", `made` says how."""
        column = self.table.schema.get_field_index("split")
        table = self.table.set_column(column, "split", texts(splits))
        return dataclasses.replace(self, table=table, split_origin=origin, split_made=made)

    def filter_domains(self, domains: Iterable[str]) -> Self:
        """Return the images of these domains; an image keeps its split.

        Raises:
            DataError: a domain that this data does not have.
        """
        wanted = [domains] if isinstance(domains, str) else list(domains)
        unknown = sorted(set(wanted) - set(self.domains))
        if unknown:
            have = some(self.domain_names, 20) or "no domains"
            raise DataError(f"{self.name}: no domain {unknown[0]!r}; it has {have}")
        kept = self.select([row for row, domain in enumerate(self.domains) if domain in wanted])
        return dataclasses.replace(kept, chosen=self.chosen)

    def filter_classes(self, names: Iterable[str]) -> Self:
        """Return the images of these classes as data that has no others; an image keeps its split.

        Raises:
            DataError: a class that this data does not have.
        """
        wanted = {names} if isinstance(names, str) else set(names)
        unknown = sorted(wanted - set(self.class_names))
        if unknown:
            raise DataError(f"{self.name}: no class {unknown[0]!r}; it has {some(self.class_names, 20)}")
        rows = [row for row, label in enumerate(self.column("label")) if label in wanted]
        kept = tuple(name for name in self.class_names if name in wanted)
        return dataclasses.replace(self.select(rows), class_names=kept, chosen=self.chosen)

    def image(self, index: int, min_side: int | None = None) -> Image.Image:
        """Return image `index` as upright 8-bit RGB; `min_side` as in `acclimate.data.open_image`.

        Raises:
            DataError: the file is missing or corrupt.
        """
        path = self.paths[index]
        try:
            content = path or self.image_bytes(index)
            name = path or self._place(index)
            return open_image(content, min_side, name=name, notice=self._notices, bands=self.bands)
        except UnreadableImage as error:
            raise self._unreadable(error.file, error.reason) from error

    def image_bytes(self, index: int) -> bytes:
        """Return image `index` as it is stored: the bytes of its file.

        Raises:
            DataError: the file cannot be read.
        """
        path = self.paths[index]
        if path is None:
            assert self.store is not None
            try:
                cell = self.store[self.table["row"][index].as_py()]["image"] or {}
            except OSError as error:
                raise self._unreadable(self._place(index), (error.strerror or str(error)).lower()) from error
            if cell.get("bytes") is not None:
                return bytes(cell["bytes"])
            path = cell.get("path")
            if path is None:
                raise self._unreadable(self._place(index), "the row holds no image")
        try:
            return read_bytes(path)
        except OSError as error:
            raise self._unreadable(path, (error.strerror or str(error)).lower()) from error

    def digest(self, index: int) -> str:
        """Return the sha256 of the stored bytes of image `index`, in hex; an image is read once for it."""
        key = self.keys[index]
        if key not in self._digests:
            content = self.image_bytes(index)
            self._digests[key], self._readings[key] = hashlib.sha256(content).hexdigest(), reading(content)
        return self._digests[key]

    def pixels_key(self, index: int) -> str:
        """Return what names the pixels of image `index` in a cache: its `digest`, or that and how it is read.

        The digest alone serves images that every release has read alike.
        """
        digest, view = self.digest(index), self._readings[self.keys[index]]
        return row_key(digest, view if self.bands is None else f"{view or RULE} bands {named(self.bands)}")

    @property
    def _rows(self) -> list[int]:
        return list(self.table["row"].to_pylist())

    def _place(self, index: int) -> str:
        return f"{self.name} row {self.keys[index]}"

    def _unreadable(self, file: str, reason: str) -> UnreadableImage:
        advice = "list such files with `acclimate data check DATA`, or leave them out with `on_corrupt='skip'`"
        return UnreadableImage(file, reason, advice)
