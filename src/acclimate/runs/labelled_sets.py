"""Which labelled images a classifier learns from: none that is tested in any of its data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from acclimate.data import ImageData
from acclimate.data.apart import digests
from acclimate.data.shots import BUDGET, parse_shots
from acclimate.errors import ConfigError
from acclimate.pretraining.classifier import ClassifierConfig
from acclimate.pretraining.labelled import LabelledSet
from acclimate.prompts import Domain
from acclimate.protocols import FewShot, Trial
from acclimate.protocols.drawing import draw_training, draw_validation, unlearned
from acclimate.runs.pretraining import choose_domain


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
    return [replace(one, val=unlearned(one.val, learned)) for one in sets]


def sets_of_trial(trial: Trial, config: ClassifierConfig, domains: Mapping[str, Domain]) -> list[LabelledSet]:
    """Return the images of a trial as sets to learn from, for a run that builds on a classifier of its own images.

    Args:
        trial: its training images are learned from, its validation images choose, its test named "test" is measured, or
            that of each of several data sets.
        config: says how training images are shown.
        domains: of each data set by its name, whether it allows mirror images.
    """
    train, val = trial.train, trial.val
    parts = {name: (train.of_set(name), val.of_set(name), trial.tests[name]) for name in train.sets}
    parts = parts or {train.name: (train, val, trial.tests.get("test", val.select([])))}
    views = {name: config.augmentation(domains[name].flip, domains[name].id) for name in parts}
    return [LabelledSet(name, *images, views[name]) for name, images in parts.items()]
