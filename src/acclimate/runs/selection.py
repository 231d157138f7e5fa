"""Which images of a data set a saved run may be measured on."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeVar

from acclimate.data import ImageData, load_splits
from acclimate.data.kept import keep_split
from acclimate.data.splits import GREEDY
from acclimate.errors import ConfigError, DataError, RunError
from acclimate.runs import folder

logger = logging.getLogger("acclimate.runs")

Images = TypeVar("Images", bound=ImageData)

_OPTIONS = {"rule": "split_rule", "seed": "split_seed"}  # where `split_made` has a shorter word

SPLITS = ("auto", "all", "train", "val", "test")


def choose_evaluation_images(run: str | os.PathLike[str], data: Images, split: str = "auto") -> Images:
    """Return the images of a data set that a run is measured on.

    `auto` never returns images that the run has learned from or selected by: on the run's own data these are the test
    images frozen in its `splits.json`; on other data with a given split, its test images; on anything else, all. Where
    data share only some images with the run, those are left out. Images are known by their bytes, whatever their names.

    A split that is asked for by name is the given one; where none is given, the run's own for the images that it
    knows, see `keep_split`, so that the test images of its data are those that it was tested on.

    Args:
        run: run folder.
        data: images of any task.
        split: `auto`, `all`, or the name of a split of `data`.

    Raises:
        ConfigError: for an unknown split.
        DataError: when the chosen split has no image.
    """
    if split not in SPLITS:
        raise ConfigError(f"`{split=}`: choose {', '.join(SPLITS)}")
    if split == "all":
        return data
    chosen = _unseen(Path(run), data) if split == "auto" else _as_split(Path(run), data).split(split)
    if len(chosen) == 0:
        raise DataError(f"{data.name}: the split '{split}' has no image; use `split='all'`")
    return chosen


def _as_split(run: Path, data: Images) -> Images:
    """Return data with the split that they give, that `split_from` has kept, or that the run had of them."""
    if data.split_origin == "given" or "kept" in (data.split_made or {}) or not (run / folder.SPLITS).exists():
        return data
    frozen = load_splits(run / folder.SPLITS)["splits"]
    known = {row.get("sha256") for rows in frozen.values() for row in rows}
    if not any(data.digest(row) in known for row in range(len(data))):  # other data, whatever their names
        return data
    try:
        return keep_split(data, run)
    except ConfigError:  # a run of a bench, with other splits
        return data


def _unseen(run: Path, data: Images) -> Images:
    if (run / folder.SPLITS).exists():
        frozen = load_splits(run / folder.SPLITS)["splits"]
        seen = {row["sha256"] for name in ("train", "val") for row in frozen.get(name, ())}
        digests = [data.digest(row) for row in range(len(data))]
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


def other_split(run: Path, data: ImageData) -> str:
    """Return a remark where the split of some data is made otherwise than that of a run, else nothing."""
    try:
        document = load_splits(run / folder.SPLITS)
    except RunError:
        return ""
    # files of earlier releases do not say how, for there was one rule
    then, now = document.get("made", {"rule": GREEDY}) or {}, data.split_made or {}
    if not now or all(then[name] == now.get(name) for name in then):
        return ""
    if "kept" in then or "kept" in now:
        return " (their splits differ: only one of them keeps an earlier one, or another one; see `split_from`)"
    differing = [name for name in then if then[name] != now.get(name)]
    options = ", ".join(f"`{_OPTIONS.get(name, name)}={then[name]!r}`" for name in differing)
    return f" (the split of that run was made with {options}, and that of these data is not)"
