"""Several data sets that are learned from together, each of which is measured on its own test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from acclimate.data import ImageData, join_data
from acclimate.data.apart import digests
from acclimate.protocols.contract import Trial, refuse_reserved
from acclimate.protocols.drawing import unlearned
from acclimate.protocols.few_shot import FewShot


def draw_together(sets: Sequence[ImageData], shots: int | str, seed: int) -> Trial:
    """Return shots of each data set, those that each gives alone, and a test for each by its name.

    Images of a tested group, and copies of images that are tested in any of the sets, are learned from in none; copies
    of what is learned from choose nothing.

    Args:
        sets: of different names.
        shots, seed: as in `FewShot`.

    Raises:
        DataError: a class has no training image, or a data set is named as a split.
    """
    refuse_reserved((one.name for one in sets), "data set")
    tested = {one.name: one.test for one in sets}
    drawn = [FewShot().make_trial(one.train, one.val, tested, shots, seed) for one in sets]
    learned = digests([one.train for one in drawn])
    train = join_data([one.train for one in drawn], apart=True)
    val = join_data([unlearned(one.val, learned) for one in drawn], apart=True)
    whole = join_data(sets, apart=True)
    tests = {one.name: whole.of_set(one.name).test for one in sets}
    return Trial(replace(train, chosen=True), replace(val, chosen=True), tests, whole)
