"""Draws: the shots and the validation images of a trial, of which none is measured, under any name."""

from __future__ import annotations

import logging
from collections.abc import Collection

from acclimate.counting import counted
from acclimate.data import ImageData, parse_shots, sample_shots
from acclimate.data.apart import apart, digests
from acclimate.data.ordering import some
from acclimate.data.shots import BUDGET
from acclimate.errors import DataError

__all__ = ["apart", "draw_training", "draw_validation", "unlearned"]

log = logging.getLogger("acclimate.protocols")

VAL_SHOTS = 4  # labelled validation images a class that a few-shot run may look at, as in the released code of CoOp


def draw_training(data: ImageData, shots: int | str, seed: int, tested: Collection[ImageData] = ()) -> ImageData:
    """Draw the images to learn from.

    Images of a tested group, and copies of tested images, byte for byte, are passed over.

    Args:
        data: images that may be learned from.
        shots: as in `sample_shots`.
        seed: of the shots.
        tested: what is measured.

    Raises:
        DataError: there are none; or, unless a budget is drawn over all classes, none of some class; or a copy of a
            tested image cannot be read.
    """
    train = _draw(data, shots, seed, tested)
    empty = [name for name, count in train.counts().items() if count == 0]
    if empty and not (str(parse_shots(shots)).startswith(BUDGET) and len(train)):
        why = ", since all that it has are tested too, by group or as copies" if data.counts()[empty[0]] else ""
        raise DataError(f"{data.name}: the class '{empty[0]}' has no training image{why}; add some or drop the class")
    return train


def draw_validation(data: ImageData, shots: int | str, seed: int, tested: Collection[ImageData] = ()) -> ImageData:
    """Draw the validation images that a run with so many shots may look at: at most four a class, or all of them.

    A budget of N images allows as many validation images, up to four times the number of classes, drawn alike.

    Args:
        data: images that may be looked at, possibly none.
        shots, seed, tested: as in `draw_training`.
    """
    shots = parse_shots(shots)
    if isinstance(shots, int):
        shots = min(shots, VAL_SHOTS)
    elif shots.startswith(BUDGET):
        shots = f"{BUDGET}{min(int(shots.removeprefix(BUDGET)), VAL_SHOTS * len(data.class_names))}"
    return _draw(data, shots, seed, tested) if len(data) else data


def unlearned(val: ImageData, learned: set[str]) -> ImageData:
    """Return validation images without copies of what is learned from in any set: these would choose the last epoch.

    Args:
        val: of one of several sets.
        learned: sha256 of what is learned from in all of them.
    """
    kept = [row for row in range(len(val)) if val.digest(row) not in learned]
    if len(kept) < len(val):
        count = counted(
            len(val) - len(kept),
            "validation image chooses nothing: a copy is",
            "validation images choose nothing: copies of them are",
        )
        log.warning("%s: %s learned from", val.name, count)
    return val.select(kept)


def _draw(data: ImageData, shots: int | str, seed: int, tested: Collection[ImageData]) -> ImageData:
    groups = {group for part in tested if part.name == data.name for group in part.groups} - {""}
    free = [row for row, group in enumerate(data.groups) if group not in groups]
    if len(free) < len(data):
        count = counted(len(data) - len(free), "image is", "images are")
        log.info("%s: %s not learned from, being of a group that is tested", data.name, count)
        data = data.select(free)
    measured, copies = digests(tested), set[str]()
    while True:  # only what is drawn is read, not all that could be
        drawn = sample_shots(data, shots, seed)
        found = [row for row in range(len(drawn)) if measured and drawn.digest(row) in measured]
        if not found:
            break
        for row in found:
            drawn.image(row)  # empty files are copies of each other too; these are to be mended, not passed over
        names = {drawn.keys[row] for row in found}
        copies |= names
        data = data.select([row for row, key in enumerate(data.keys) if key not in names])
    if copies:
        count = counted(len(copies), "image is", "images are")
        log.warning("%s: %s not learned from, as copies are tested: %s", data.name, count, some(sorted(copies)))
    return drawn
