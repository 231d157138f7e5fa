"""Which images of a data set a saved run may be measured on."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from acclimate.data import ImageData, load_splits
from acclimate.errors import ConfigError, DataError
from acclimate.runs import folder
from acclimate.runs.seen import Seen, rows_among, seen_by_encoder, seen_by_run

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder

logger = logging.getLogger("acclimate.runs")

Images = TypeVar("Images", bound=ImageData)

SPLITS = ("auto", "all", "train", "val", "test")


def choose_evaluation_images(
    run: str | os.PathLike[str], data: Images, split: str = "auto", domain_encoder: DomainEncoder | None = None
) -> Images:
    """Return the images of a data set that a run is measured on.

    `auto` never returns images that the run has learned from or selected by, nor those that its domain encoder has
    learned from: on the run's own data these are the test images frozen in its `splits.json`; on other data with a
    given split, its test images; on anything else, all. Where data share only some images with the run, those are left
    out. Of a split that is asked for nothing is left out, and a warning says how much of it was seen. Images are known
    by their bytes, whatever their names.

    Args:
        run: run folder.
        data: images of any task.
        split: `auto`, `all`, or the name of a split of `data`.
        domain_encoder: that of the run, where it reads one.

    Raises:
        ConfigError: for an unknown split.
        DataError: when the chosen split has no image.
    """
    if split not in SPLITS:
        raise ConfigError(f"`{split=}`: choose {', '.join(SPLITS)}")
    known = [seen_by_run(Path(run)), seen_by_encoder(domain_encoder)]
    seen = [one for one in known if one is not None]
    if split == "auto":
        chosen = _unseen(Path(run), data, seen)
    else:
        chosen = data if split == "all" else data.split(split)
        _say_what_was_seen(chosen, split, seen)
    if len(chosen) == 0:
        raise DataError(f"{data.name}: the split '{split}' has no image; use `split='all'`")
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


def _unseen(run: Path, data: Images, seen: Sequence[Seen]) -> Images:
    test = _frozen_test_images(run, data)
    if test is not None:
        logger.info("%s is the data of this run: measuring on its frozen test images", data.name)
        data = data.select(rows_among(data, test))
    for one in seen:
        known = {*rows_among(data, one.all)}
        if known:
            logger.warning("%s: %d images that %s has seen are left out", data.name, len(known), one.what)
            data = data.select([row for row in range(len(data)) if row not in known])
    if test is not None:
        return data
    if data.split_origin == "given" and len(data.test):
        logger.info("%s gives a split: measuring on its test images (`split='all'` for every image)", data.name)
        return data.test
    logger.info("%s is new to this run: measuring on all its images", data.name)
    return data


def _frozen_test_images(run: Path, data: ImageData) -> frozenset[str] | None:
    """Return the sha256 of the test images of a run, if these are its data: all that it has learned from is there."""
    if not (run / folder.SPLITS).exists():
        return None
    frozen = load_splits(run / folder.SPLITS)["splits"]
    seen = {row["sha256"] for name in ("train", "val") for row in frozen.get(name, ())}
    if not seen <= {data.digest(row) for row in range(len(data))}:
        return None
    return frozenset({row["sha256"] for rows in frozen.values() for row in rows} - seen)
