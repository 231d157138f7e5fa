"""Which images of a data set a saved run may be measured on."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from acclimate import arguments
from acclimate.data import ImageData, load_splits
from acclimate.errors import DataError
from acclimate.runs import folder

logger = logging.getLogger("acclimate.runs")

Images = TypeVar("Images", bound=ImageData)

SPLITS = ("auto", "all", "train", "val", "test")


def choose_evaluation_images(
    run: str | os.PathLike[str] | Mapping[str, Any] | None, data: Images, split: str = "auto"
) -> Images:
    """Return the images of a data set that a run is measured on.

    `auto` never returns images that the run has learned from or selected by, unless someone has chosen them: on the
    run's own data these are the test images frozen in its `splits.json`; on other data with a given split, its test
    images; on anything else, all. Where data share only some images with the run, those are left out. Images are known
    by their bytes, whatever their names. Images that `ImageData.split` or `select` has chosen are measured as they are,
    with a warning if the run has seen some of them.

    Args:
        run: run folder, or what its `splits.json` holds; none: nothing is known of what the run has seen.
        data: images of any task.
        split: `auto`, `all`, or the name of a split of `data`.

    Raises:
        ConfigError: for an unknown split.
        DataError: when the chosen split has no image.
    """
    arguments.one_of("split", split, SPLITS)
    if split == "all":
        return data
    chosen = _unseen(_frozen(run), data) if split == "auto" else data.split(split)
    if len(chosen) == 0 and len(data):
        none = "every image is one that the run has seen" if split == "auto" else f"the split '{split}' has no image"
        raise DataError(f"{data.name}: {none}; use `split='all'`")
    return chosen


def _frozen(run: str | os.PathLike[str] | Mapping[str, Any] | None) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each split that a run has had."""
    if isinstance(run, str | os.PathLike):
        path = Path(run) / folder.SPLITS
        run = load_splits(path) if path.exists() else None
    return run["splits"] if run else {}


def _unseen(frozen: dict[str, list[dict[str, str]]], data: Images) -> Images:
    seen = {row["sha256"] for name in ("train", "val") for row in frozen.get(name, ())}
    digests = [data.digest(row) for row in range(len(data))] if seen else []
    if data.chosen:
        if known := sum(digest in seen for digest in digests):
            logger.warning("%s: the run has seen %d of these %d images", data.name, known, len(data))
        return data
    if seen:
        if seen <= set(digests):
            logger.info("%s is the data of this run: measuring on its frozen test images", data.name)
            test = {row["sha256"] for rows in frozen.values() for row in rows} - seen
            return data.select([row for row, digest in enumerate(digests) if digest in test])
        rest = data.select([row for row, digest in enumerate(digests) if digest not in seen])
        if len(rest) < len(data):
            logger.warning("%s: %d images that the run has seen are left out", data.name, len(data) - len(rest))
        data = rest
    if data.split_origin == "given" and len(data.test):
        logger.info("%s gives a split: measuring on its test images (`split='all'` for every image)", data.name)
        return data.test
    logger.info("%s is new to this run: measuring on all its images", data.name)
    return data
