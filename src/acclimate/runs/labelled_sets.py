"""Which labelled images a classifier learns from: none that is tested in any of its data sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from acclimate.data import ImageData
from acclimate.data.apart import digests
from acclimate.data.shots import BUDGET, parse_shots
from acclimate.errors import ConfigError
from acclimate.pretraining.classifier import ClassifierConfig
from acclimate.pretraining.labelled import LabelledSet
from acclimate.prompts import Domain
from acclimate.protocols import FewShot, Trial
from acclimate.protocols.drawing import draw_training, draw_validation
from acclimate.runs.pretraining import choose_domain

logger = logging.getLogger("acclimate.pretraining")


def draw_sets(
    data: Sequence[ImageData],
    shots: int | str,
    seed: int,
    config: ClassifierConfig,
    domain: str | None = None,
    multi_label: bool = False,
) -> list[LabelledSet]:
    """Draw what is learned from; no image, group or copy that is tested in any of the data sets is.

    Args:
        data: of different names.
        shots, seed, domain, multi_label: as in `pretrain_classifier`.
        config: says how training images are shown.

    Raises:
        ConfigError: a number of shots a class, where images have several labels.
        DataError: a class has no training image.
    """
    shots = parse_shots(shots)
    if multi_label and isinstance(shots, int):
        raise ConfigError(f"`shots={shots}` counts images of every class, and with `multi_label` an image has several; "
                          "use `shots='all'` or `shots='budget:64'`")  # fmt: skip
    tests = {f"{number}": one.test for number, one in enumerate(data)}
    sets = []
    for one in data:
        found = choose_domain(one, domain)
        if multi_label:
            drawn = f"{BUDGET}{len(one.train)}" if shots == "all" else shots  # some combinations may not be there
            tested = tuple(tests.values())
            train = draw_training(one.train, drawn, seed, tested) if len(one.train) else one.train
            val = draw_validation(one.val, shots, seed, tested)
        else:
            trial = FewShot().make_trial(one.train, one.val, tests, shots, seed)
            train, val = trial.train, trial.val
        augmentation = config.augmentation(found.flip, found.id)
        sets.append(LabelledSet(one.name, train, val, one.test, augmentation, multi_label))
    learned = digests([one.train for one in sets])
    return [replace(one, val=_unlearned(one.val, learned)) for one in sets]


def set_of_trial(trial: Trial, config: ClassifierConfig, domain: Domain) -> LabelledSet:
    """Return the images of a trial as a set to learn from, for a run that builds on a classifier of its own images.

    Args:
        trial: its training images are learned from, its validation images choose, its test named "test" is measured.
        config: says how training images are shown.
        domain: whether it allows mirror images.
    """
    train, test = trial.train, trial.tests.get("test", trial.val.select([]))
    return LabelledSet(train.name, train, trial.val, test, config.augmentation(domain.flip, domain.id))


def _unlearned(val: ImageData, learned: set[str]) -> ImageData:
    """Return validation images without copies of what is learned from in any set: these would choose the last epoch."""
    kept = [row for row in range(len(val)) if val.digest(row) not in learned]
    if len(kept) < len(val):
        count = len(val) - len(kept)
        logger.warning("%s: %d validation images choose nothing: copies of them are learned from", val.name, count)
    return val.select(kept)
