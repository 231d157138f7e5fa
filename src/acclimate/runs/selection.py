"""Which images of a data set a saved run may be measured on."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data import ImageData, load_splits
from acclimate.data.frozen import joined_sets, splits_of_set
from acclimate.data.kept import keep_split
from acclimate.data.ordering import some
from acclimate.data.splits import report_made
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.runs import folder
from acclimate.runs.seen import (
    Seen,
    made_otherwise,
    read_images,
    read_splits,
    rows_among,
    seen_by_encoder,
    seen_in,
    split_made,
)

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder

logger = logging.getLogger("acclimate.runs")

Images = TypeVar("Images", bound=ImageData)

SPLITS = ("auto", "all", "train", "val", "test")


def choose_evaluation_images(
    run: str | os.PathLike[str] | Mapping[str, Any] | None,
    data: Images,
    split: str = "auto",
    domain_encoder: DomainEncoder | None = None,
    seen_before: Collection[str] = (),
) -> Images:
    """Return the images of a data set that a run is measured on.

    `auto` never returns images that the run has learned from or selected by, nor those that its domain encoder has
    learned from, unless someone has chosen them: on the run's own data these are the test images frozen in its
    `splits.json`; on other data with a given split, its test images; on anything else, all. Where data share only some
    images with the run, those are left out. Of images that are asked for, by the name of a split or because
    `ImageData.split` or `select` has chosen them, nothing is left out, and a warning says how many of them were seen.
    Images are known by their bytes, whatever their names.

    A split that is asked for by name is the given one; where none is given, the run's own for the images that it
    knows, see `keep_split`, so that the test images of its data are those that it was tested on.

    Args:
        run: run folder, or what its `splits.json` holds; none: nothing is known of what the run has seen.
        data: images of any task.
        split: `auto`, `all`, or the name of a split of `data`.
        domain_encoder: that of the run, where it reads one.
        seen_before: sha256 of images that were seen before those of the splits, where `run` is not the folder, which
            tells.

    Raises:
        ConfigError: for an unknown split.
        DataError: when the chosen split has no image.
    """
    arguments.one_of("split", split, SPLITS)
    if isinstance(run, str | os.PathLike):
        document, seen_before = read_splits(Path(run)), read_images(Path(run))
    else:
        document = run
    known = [seen_in(document, seen_before), seen_by_encoder(domain_encoder)]
    seen = [one for one in known if one is not None]
    document = _of_own_set(document, data)
    if split == "auto" and not data.chosen:
        chosen = _unseen(document, data, seen)
    else:
        chosen = data if split in ("auto", "all") else _as_split(document, data).split(split)
        _say_what_was_seen(chosen, split, seen)
    if len(chosen) == 0 and len(data):
        none = "every image is one that the run has seen" if split == "auto" else f"the split '{split}' has no image"
        raise DataError(f"{data.name}: {none}; use `split='all'`")
    return chosen


def _say_what_was_seen(data: ImageData, split: str, seen: Sequence[Seen]) -> None:
    if split == "train":  # which is what it says
        return
    for one in seen:
        count = len(rows_among(data, one.all))
        if count:
            logger.warning(
                "%s: %s has seen %d of the %d images that are measured", data.name, one.what, count, len(data)
            )


def _as_split(document: Mapping[str, Any] | None, data: Images) -> Images:
    """Return data with the split that they give, that `split_from` has kept, or that the run had of them."""
    if data.split_origin == "given" or "kept" in (data.split_made or {}):
        return data
    rows = [] if document is None else [row for rows in document["splits"].values() for row in rows]
    if document is not None and rows_among(data, frozenset(row.get("sha256", "") for row in rows)):
        with suppress(ConfigError):  # of a run of a bench, with other splits
            return keep_split(data, document)
    report_made(data)  # of other data, whatever their names
    return data


def _unseen(document: Mapping[str, Any] | None, data: Images, seen: Sequence[Seen]) -> Images:
    test = _frozen_test_images(document, data)
    if test is not None:
        logger.info("%s is the data of this run: measuring on its frozen test images", data.name)
        _say_what_classes_are_new(document or {}, data)
        data = data.select(rows_among(data, test))
    whole = len(data)
    for one in seen:
        known = {*rows_among(data, one.all)}
        if known:
            count = counted(len(known), "image that {} has seen is", "images that {} has seen are").format(one.what)
            logger.warning("%s: %s left out", data.name, count)
            data = data.select([row for row in range(len(data)) if row not in known])
    if test is not None:
        return data
    if data.split_origin == "given" and len(data.test):
        logger.info("%s gives a split: measuring on its test images (`split='all'` for every image)", data.name)
        return data.test
    if len(data) < whole:
        logger.info("%s: measuring on the rest, %s", data.name, counted(len(data), "image"))
    else:
        logger.info("%s is new to this run: measuring on all its images", data.name)
    return data


def _say_what_classes_are_new(document: Mapping[str, Any], data: ImageData) -> None:
    entries = (row for rows in document["splits"].values() for row in rows)
    known = {name for row in entries for name in data.names_in(row.get("label", ""))}
    new = {name: count for name, count in data.counts().items() if count and name not in known}
    if new:
        logger.warning(
            "%s: %s not measured, being of classes that the run does not have: %s; adapt again to tell them apart",
            data.name,
            counted(sum(new.values()), "image is", "images are"),
            some(list(new), 5),
        )


def _of_own_set(document: Mapping[str, Any] | None, data: ImageData) -> Mapping[str, Any] | None:
    """Return the splits of the data set that these data are, where a run has learned from several together."""
    names = [] if document is None else joined_sets(document)
    parts = (splits_of_set(document or {}, name) for name in names)
    return next((part for part in parts if _frozen_test_images(part, data) is not None), document)


def _frozen_test_images(document: Mapping[str, Any] | None, data: ImageData) -> frozenset[str] | None:
    """Return the sha256 of the test images of a run, if these are its data: all that it has learned from is there."""
    if document is None:
        return None
    own = seen_in(document).all
    if not own <= {data.digest(row) for row in range(len(data))}:
        return None
    return frozenset({row["sha256"] for rows in document["splits"].values() for row in rows} - own)


def other_split(run: Path, data: ImageData) -> str:
    """Return a remark where the split of some data is made otherwise than that of a run, else nothing."""
    try:
        document = load_splits(run / folder.SPLITS)
    except RunError:
        return ""
    options = made_otherwise(split_made(document), data.split_made)
    return f" (the split of that run was made with {options}, and that of these data is not)" if options else ""
