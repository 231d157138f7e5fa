"""`load_data`: one door for every kind of source."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data import layouts, manifests, metadata, split_lists, tables
from acclimate.data.bands import parse_bands
from acclimate.data.columns import integers, text_table
from acclimate.data.dataset import ImageData
from acclimate.data.frames import is_frame, of_datasets, read_frame
from acclimate.data.held import find_shards, read_held
from acclimate.data.held.frames import FrameImages, read_frame_images
from acclimate.data.images import UnreadableImage
from acclimate.data.kept import keep_split
from acclimate.data.memory import read_datasets
from acclimate.data.ordering import some
from acclimate.data.rows import IN_CHECK, Remark, Rows, on_spelling
from acclimate.data.several import MultiLabelData
from acclimate.data.splits import STABLE, Rule, SplitPlan, make_splits
from acclimate.data.units import warn_of_crossing
from acclimate.errors import ConfigError, DataError

if TYPE_CHECKING:
    import datasets

log = logging.getLogger("acclimate.data")

MOST_REMARKS = 10
"""How many warnings about a source are shown; `acclimate data check` has them all."""
D = TypeVar("D", bound=ImageData)


def load_data(
    source: str | os.PathLike[str] | datasets.Dataset | datasets.DatasetDict | ImageData | Any,
    *,
    layout: str = "auto",
    images_root: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    split_rule: Rule = STABLE,
    split_from: str | os.PathLike[str] | None = None,
    val_fraction: float = 0.2,
    test_fraction: float = 0.3,
    on_corrupt: Literal["error", "skip"] = "error",
    allow_one_class: bool = False,
    multi_label: bool = False,
    bands: str | Sequence[int] | None = None,
) -> ImageData:
    """Load labelled images; their files are read when they are used.

    A split that the source gives is kept exactly as it is; rows without one belong to train. A source without a split,
    or in which every row is "train", gets one: grouped, stratified by class and domain, and the same on every machine
    (see `make_splits`).

    Args:
        source: a folder of images, a folder with `labels.csv` (or .tsv, .jsonl, .parquet), a manifest with the columns
            `path,label[,domain,group,split]`, a published split list (.json) or a folder of those of several domains,
            files that hold many images or a pattern of them (see `acclimate.data.held`), a `datasets` data set, a table
            in memory (a DataFrame of pandas or polars, or an Arrow table) with the columns of a manifest, whose paths
            are relative to the working directory, or with a column of images, or `ImageData`, which is returned as it
            is unless `split_from` is given.
        layout: what the folders above the images mean, one of "class", "split/class", "class/split", "domain/class",
            "split/domain/class", "domain/split/class"; "manifest" for `labels.*`; "auto" finds out.
        images_root: the folder to which the paths of a manifest or a split list are relative; by default its own.
        split_seed: seed of the split, where one is made.
        split_rule: "stable", or "greedy" for the split of earlier releases, see `make_splits`.
        split_from: run folder or `splits.json` whose split is kept for all images that it knows, so that only new ones
            are placed, see `keep_split`.
        val_fraction: share of the images for validation, in [0, 1).
        test_fraction: share of the images for test, in [0, 1); the rest is for training.
        on_corrupt: "error" opens no image now; a corrupt one raises when it is used. "skip" decodes every image now,
            leaves corrupt ones out, and lists them in `.skipped`.
        allow_one_class: take data of a single class, as for measuring an adapter that knows others too.
        multi_label: whether images may have several labels, written with "|" between; "|" alone is none of them. What
            is returned is `MultiLabelData` then.
        bands: three bands of each image that are shown as red, green and blue, such as "4,3,2", or one that is shown as
            grey, counted from 1; none: the first ones, or those of `ImageData`.

    Raises:
        DataError: a source that is missing, empty, or contradicts itself; the message names the file, the row and the
            value.
        ConfigError: an option out of its range, or `split_from` for data that give a split.
        RunError: `split_from` is no file of splits.
    """
    if layout not in ("auto", "manifest", *layouts.LAYOUTS):
        raise ConfigError(
            f"`layout={arguments.shown(layout)}` is unknown; say one of auto, manifest, {', '.join(layouts.LAYOUTS)}"
        )
    if on_corrupt not in ("error", "skip"):
        raise ConfigError(f"`on_corrupt={arguments.shown(on_corrupt)}` is neither 'error' nor 'skip'")
    seed, shown = arguments.whole("split_seed", split_seed), parse_bands(bands)
    plan = SplitPlan(rule=split_rule, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction)
    if isinstance(source, ImageData):
        source = MultiLabelData.of(source) if multi_label and type(source) is ImageData else source
        source = source if shown is None else replace(source, bands=shown)
        return source if split_from is None else settle_split(source, plan, split_from)
    rows, store = _read(source, layout, None if images_root is None else _images_root(images_root))
    if not len(rows):
        raise DataError(f"{rows.name}: there is no image in these data; give at least one of every class")
    data = replace(build_data(rows, store), bands=shown)
    if on_corrupt == "skip":
        data = without_corrupt(data)
    if multi_label:
        return settle_split(MultiLabelData.of(data), plan, split_from)
    present = sorted(set(data.column("label")))
    if len(present) < 2 and not allow_one_class:
        raise DataError(
            f"{data.name}: only one class ({present[0]!r}); classification needs at least two, check the folders or "
            "the label column"
        )
    return settle_split(data, plan, split_from)


def _read(source: Any, layout: str, images_root: Path | None) -> tuple[Rows, Sequence[Mapping[str, Any]] | None]:
    """Read a source of any kind; return its rows, and its encoded images where it holds them."""
    if is_path(source):
        return _read_path(Path(os.path.expanduser(source)), layout, images_root)
    if is_frame(source):
        held = FrameImages.of(source)
        if held is not None:
            return read_frame_images(source, held)
        title, columns, records = read_frame(source, (*manifests.REQUIRED, *manifests.OPTIONAL))
        return manifests.collect(title, "table", columns, records, images_root or Path.cwd()), None
    if isinstance(source, Mapping) or of_datasets(source):
        return read_datasets(source, images_root)
    raise DataError(
        f"cannot load data from {arguments.kind_of(source)}; give a folder, a manifest, a table or a datasets.Dataset"
    )


def is_path(source: object) -> bool:
    """Return whether a source is a path.

    Raises:
        DataError: it is an empty one.
    """
    if isinstance(source, str) and not source.strip():
        raise DataError("the name of the data is empty; name a folder of images or a manifest")
    return isinstance(source, str | os.PathLike) and isinstance(os.fspath(source), str)


def _images_root(images_root: str | os.PathLike[str]) -> Path:
    root = Path(os.path.expanduser(arguments.path("images_root", images_root)))
    if not root.is_dir():
        raise DataError(
            f"`images_root={str(root)!r}` is no folder; name the folder to which the paths of the manifest are relative"
        )
    return root


def _read_path(path: Path, layout: str, images_root: Path | None) -> tuple[Rows, Sequence[Mapping[str, Any]] | None]:
    files = find_shards(path) if layout == "auto" else []
    manifest = manifests.find_manifest(path) if files else None
    if files and (manifest is None or manifest in files):
        return read_held(path, files)
    return _read_files(path, layout, images_root), None


def _read_files(path: Path, layout: str, images_root: Path | None) -> Rows:
    """Read a source that names the files of its images."""
    if not os.path.exists(path):
        raise DataError(
            f"{path}: no such file or folder; name a folder of images or a manifest (a Hub data set: "
            "datasets.load_dataset first)"
        )
    if not path.is_dir():
        if path.suffix.lower() == split_lists.SUFFIX:
            return split_lists.read_lists([path], images_root)
        if path.suffix.lower() not in tables.SUFFIXES:
            endings = ", ".join((*tables.SUFFIXES, split_lists.SUFFIX))
            raise DataError(f"{path}: not a folder, and no manifest by its name; a manifest ends in {endings}")
        return manifests.read_manifest(path, images_root)
    path = layouts.unwrap(path) if layout in ("auto", "manifest") else path
    manifest = manifests.find_manifest(path) if layout in ("auto", "manifest") else None
    if manifest:
        rows = manifests.read_manifest(manifest, images_root)
        rows.name = path.resolve().name
        return rows
    lists = split_lists.find_lists(path) if layout in ("auto", "manifest") else []
    if lists:
        return split_lists.read_lists(lists, images_root)
    described = metadata.find_metadata(path) if layout in ("auto", "manifest") else []
    found = metadata.read_metadata(path, described) if described else None
    if isinstance(found, Rows):
        return found
    if layout == "manifest":
        raise DataError(
            f"{path}: no labels.csv, .tsv, .jsonl or .parquet in this folder; add one with the columns path,label"
        )
    if images_root is not None:
        raise DataError(
            f"{path}: `images_root` belongs to a manifest, and this folder has no labels.csv; name the manifest or "
            "leave `images_root` out"
        )
    return _read_folder(path.resolve(), layout, found)


def _read_folder(path: Path, layout: str, remark: Remark | None) -> Rows:
    """Read a folder of images; the remark says why a table in it is not read."""
    try:
        rows = layouts.read_folder(path, layout)
    except DataError as error:
        if remark is None:
            raise
        raise DataError(f"{error}; {remark.text.partition(';')[0]}") from error
    rows.remarks += [] if remark is None else [remark]
    return rows


def build_data(rows: Rows, store: Sequence[Mapping[str, Any]] | None) -> ImageData:
    """Put rows into a table in the order of their keys; row n of a store belongs to row n of `rows`."""
    order = sorted(range(len(rows)), key=rows.keys.__getitem__)
    given = any(split not in ("", "train") for split in rows.splits)
    if not given and any(rows.splits):
        log.info("%s: every image is in train, which is no division; a split is made", rows.name)
    missing = rows.splits.count("")
    if given and missing:
        count = counted(missing, "image without a split belongs", "images without a split belong")
        log.info("%s: %s to train", rows.name, count)
    columns: dict[str, Sequence[str | None]] = {
        "key": rows.keys,
        "path": rows.paths,
        "label": rows.labels,
        "domain": rows.domains,
        "group": rows.groups,
        "split": [split or "train" for split in rows.splits] if given else [""] * len(rows),
    }
    table = text_table(columns)
    if store is not None:
        table = table.append_column("row", integers(range(len(rows))))
    names = rows.classes or tuple(sorted(set(rows.labels)))
    table = table.take(integers(order))
    remarks = (*rows.remarks, *on_spelling(names, "class", "classes"), *on_spelling(set(rows.domains), "domain"))
    for remark in remarks[:MOST_REMARKS]:
        level = logging.INFO if remark.level == "info" else logging.WARNING
        log.log(level, "%s: %s", rows.name, remark.text, extra=IN_CHECK)
    if len(remarks) > MOST_REMARKS:
        more = counted(len(remarks) - MOST_REMARKS, "more such warning")
        log.warning("%s: and %s", rows.name, more, extra=IN_CHECK)
    origin, others = "given" if given else "made", tuple(rows.other_files)
    return ImageData(rows.name, table, names, origin, other_files=others, store=store, remarks=remarks)


def without_corrupt(data: ImageData) -> ImageData:
    """Decode every image and leave out those that fail.

    Raises:
        DataError: when all fail.
    """

    def reason(index: int) -> str:
        try:
            data.image(index, min_side=32)
        except UnreadableImage as error:
            return error.reason
        return ""

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        reasons = list(pool.map(reason, range(len(data))))
    skipped = tuple(key for key, why in zip(data.keys, reasons, strict=True) if why)
    if not skipped:
        return data
    kinds = some([f"{count} x {why}" for why, count in Counter(filter(None, reasons)).most_common()], 3)
    if len(skipped) == len(data):
        raise DataError(
            f"{data.name}: none of the {len(data)} images can be decoded ({kinds}); list the reasons with `acclimate "
            "data check DATA`"
        )
    count = counted(len(skipped), "corrupt image is", "corrupt images are")
    log.warning("%s: %s left out: %s (%s)", data.name, count, some(skipped), kinds)
    kept = data.select([row for row, why in enumerate(reasons) if not why])
    for column, many in (("label", "classes"), ("split", "splits"), ("domain", "domains")):
        lost = sorted(set(data.column(column)) - set(kept.column(column)))
        if lost:
            log.warning("%s: no image is left of the %s %s", data.name, many, some(lost))
    present = set(kept.column("label"))
    names = tuple(name for name in data.class_names if name in present)
    return replace(kept, class_names=names, skipped=skipped, chosen=data.chosen)


def settle_split(data: D, plan: SplitPlan, split_from: str | os.PathLike[str] | None = None) -> D:
    """Make a split where the source gives none; else keep it, and say what it is and what looks wrong with it.

    Raises:
        ConfigError: `split_from` for data that give a split.
        RunError: `split_from` is no file of splits.
    """
    if split_from is not None:
        return keep_split(data, split_from, plan)
    if data.split_origin == "made":
        return make_splits(data, plan.seed, plan.val_fraction, plan.test_fraction, plan.rule)
    _report_given(data)
    return data


def _report_given(data: ImageData) -> None:
    """Say what the given split is, and what looks wrong with it."""
    splits = data.splits
    sizes = ", ".join(f"{name} {splits.count(name)}" for name in ("train", "val", "test"))
    log.info("%s: keeping the given split (%s)", data.name, sizes)
    if "test" not in splits:
        log.warning(
            "%s: the given split has no test images; test is empty, so nothing can be measured on it", data.name
        )
    if "train" not in splits:
        log.warning("%s: the given split has no training images; train is empty", data.name)
    warn_of_crossing(data, "given")
