"""Which images are learned from: none that will be validated or tested on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, get_args

from acclimate.counting import counted
from acclimate.data import ImageData
from acclimate.data.apart import apart
from acclimate.errors import ConfigError, DataError

Part = Literal["train", "train+val", "all"]

log = logging.getLogger("acclimate.pretraining")


@dataclass(frozen=True)
class Chosen:
    """Images to learn from, and images to look at.

    Attributes:
        train: learned from.
        shown: for the sheet and the held-out loss; validation images that are not learned from, possibly none.
        part: what of the data `train` is: "train", "train+val" or "all".
    """

    train: ImageData
    shown: ImageData
    part: str


def choose_images(data: ImageData, part: Part = "train") -> Chosen:
    """Take the training images of data that have a split, and all of data that have none.

    Images that share a group with held-out ones, and copies of them, byte for byte, are left out.

    Args:
        data: what `load_unlabelled` returns.
        part: "train" is what `acclimate adapt` would learn from; "train+val" and "all" take more.

    Raises:
        ConfigError: an unknown part.
        DataError: nothing is left.
    """
    if part not in get_args(Part):
        raise ConfigError(f"`split={part!r}`: choose {', '.join(get_args(Part))}")
    if not any(data.splits):
        count = counted(len(data), "image is", "images are")
        log.info("%s: %s learned from, without classes and without a split", data.name, count)
        return Chosen(data, data.select([]), "all")
    held_out = {"train": ("val", "test"), "train+val": ("test",), "all": ()}[part]
    splits = data.splits
    taken = data.select([row for row, split in enumerate(splits) if split not in held_out])
    rest = data.select([row for row, split in enumerate(splits) if split in held_out])
    train = apart(taken, rest) if len(rest) else taken
    if len(train) < len(taken):
        count = counted(len(taken) - len(train), "image is", "images are")
        log.warning("%s: %s not learned from: what has the same group, or is a copy, is held out", data.name, count)
    if not len(train):
        raise DataError(f"{data.name}: no images to learn from with `split={part!r}`; use `split='all'`, or add some")
    reason = {
        "train": "those that adapt learns from, so that no validation or test image is seen",
        "train+val": "no test image is seen, but validation images are",
        "all": "test images too: do not measure on them what is built on this encoder",
    }[part]
    log.info("%s: %d of %d images are learned from (%s): %s", data.name, len(train), len(data), part, reason)
    return Chosen(train, rest.val, part)
