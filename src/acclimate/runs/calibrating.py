"""`Calibrating`: what a run keeps beside its adapter, so that predictions can say how sure they are."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from acclimate.data import ImageData
from acclimate.data.folds import deal_folds, held_together
from acclimate.methods import AnsweringClassifier, Classifier
from acclimate.methods.parts.ridge import spread_out
from acclimate.methods.trust import HeldOut, Known, Look, Trust
from acclimate.metrics import negative_log_likelihood, tempered
from acclimate.runs.parts import RunPart
from acclimate.runs.seen import rows_among
from acclimate.tasks.classified import probabilities
from acclimate.training.feeds import RepeatedFeed, chunks
from acclimate.training.inputs import VIEWS
from acclimate.training.stages import SolverStage, Stage

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

FOLDS = 5
MOST = 1000  # training images that others are compared with

OUT_OF_FOLD, VALIDATION, UNTRAINED = "out-of-fold", "validation", "nothing learned"


class Calibrating(RunPart):
    """Makes the `Trust` of a classifier: predictions of images that were held out, and what it has seen.

    Held out are, of a method that hands over such predictions itself, those; of one that learns nothing, the training
    images; of one that is solved at once, the same, by refits without a fifth of them. All others say what they make of
    the validation images, which some have chosen epochs or settings by; the record says which.

    Args:
        parts: all parts of the run, which say what was seen before it.
    """

    def __init__(self, parts: Sequence[RunPart]) -> None:
        self.parts = parts

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Give the method its `Trust`, and return what the record says of it."""
        assert isinstance(method, Classifier)  # what it is made for
        started = time.monotonic()
        held_out, told = self._held_out(method, experiment)
        known = _known(method, experiment)
        method.trust = Trust(method.trained_classes, held_out, known)
        experiment.spend("calibration", started)
        return {"calibration": told | _described(held_out, known)}

    def _held_out(self, method: Classifier, experiment: Experiment) -> tuple[HeldOut | None, dict[str, Any]]:
        train, val = experiment.splits["train"], experiment.splits.get("val")
        units = held_together(train)
        stages, seen = experiment.task.stages(method, experiment.facts), self._seen(experiment)
        own = not rows_among(train, seen) and not method.prerequisites(method.config, train.domain_names)
        if method.held_out is not None and own:
            return _of(train, units, method.held_out.double().cpu().numpy(), OUT_OF_FOLD), {}
        refits = own and _is_quick(method, stages)
        unseen = [] if val is None else [row for row in range(len(val)) if val.digest(row) not in seen]
        if refits and not stages:
            return _of(train, units, probabilities(method, experiment.feed(method, "train")), UNTRAINED), {}
        if refits and len(set(units)) > 1 and (not unseen or _fewest(train, units) > 1):
            return _of(train, units, self._refitted(experiment, units), OUT_OF_FOLD), {"folds": FOLDS}
        if val is None or not unseen:
            return None, {}
        kept, feed = val.select(unseen), RepeatedFeed(experiment.feed(method, "val"), torch.tensor(unseen))
        found = _of(kept, held_together(kept), probabilities(method, feed), VALIDATION)
        return found, {"chosen_by_them": _chosen(stages)}

    def _seen(self, experiment: Experiment) -> frozenset[str]:
        """Return the sha256 of images that something has learned from before this run."""
        return experiment.encoder_learned.union(*(part.seen_before() for part in self.parts))

    def _refitted(self, experiment: Experiment, units: Sequence[str]) -> np.ndarray:
        """Return probabilities (N, C) of the training images by methods that have learned from the other folds."""
        train, found = experiment.splits["train"], np.zeros((0, 0))
        folds = deal_folds(train.labels, units, FOLDS)
        for fold in np.unique(folds):
            rows, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            method = experiment.refit(rest, self.parts)
            assert isinstance(method, Classifier)
            own = RepeatedFeed(experiment.feed(method, "train"), torch.from_numpy(rows))
            found = np.zeros((len(train), len(method.class_names))) if not found.size else found
            found[rows] = probabilities(method, own)
        return found


def _is_quick(method: Classifier, stages: Sequence[Stage]) -> bool:
    """Return whether a method is solved at once, on features that lie in memory."""
    solved = all(isinstance(stage, SolverStage) for stage in stages)
    return solved and not isinstance(method, AnsweringClassifier) and not method.inputs.all & VIEWS


def _fewest(data: ImageData, units: Sequence[str]) -> int:
    """Return how many units the class has that has fewest, of those that have any."""
    return min(
        len({units[int(row)] for row in np.flatnonzero(data.labels == label)}) for label in np.unique(data.labels)
    )


def _numbers(units: Sequence[str]) -> np.ndarray:
    """Return a number for each unit (N,), in the order in which they come."""
    places: dict[str, int] = {}
    return np.array([places.setdefault(unit, len(places)) for unit in units], dtype=np.int64)


def _of(data: ImageData, units: Sequence[str], scores: np.ndarray, source: str) -> HeldOut:
    return HeldOut(scores.astype(np.float32), data.labels, _numbers(units), source)


def _chosen(stages: Sequence[Stage]) -> str:
    """Return what validation images may have decided in these stages."""
    if any(not isinstance(stage, SolverStage) and stage.recipe.select != "last" for stage in stages):
        return "epochs"
    return "settings" if any(isinstance(stage, SolverStage) for stage in stages) else "nothing"


def _known(method: Classifier, experiment: Experiment) -> Known | None:
    """Return the different training images as they look, some of every class where there are many."""
    look, train = Look.of(method, domain=not experiment.encoder_knows), experiment.splits["train"]
    if look is None:
        return None
    feed = experiment.feed(method, "train", frozenset({look.reads}))
    features = np.concatenate([look.features(batch) for batch in chunks(feed)])
    rows = np.sort(np.unique(features, axis=0, return_index=True)[1])
    if len(rows) > MOST:
        rows = rows[spread_out(torch.from_numpy(train.labels[rows]), MOST).numpy()]
    return Known(look, features[rows], _numbers(held_together(train.select(rows))))


def _described(held_out: HeldOut | None, known: Known | None) -> dict[str, Any]:
    """Return what the record says of it, ready for JSON."""
    found: dict[str, Any] = {"held_out": None, "known": None}
    if held_out is not None:
        scores, labels, temperature = held_out.probabilities, held_out.labels, held_out.temperature
        losses = {
            "before": negative_log_likelihood(scores, labels),
            "after": negative_log_likelihood(tempered(scores, temperature), labels),
        }
        found["held_out"] = {"source": held_out.source, "images": len(labels), "groups": held_out.units}
        found |= {"temperature": temperature, "nll": losses}
    if known is not None:
        found["known"] = {"reads": known.look.reads, "images": len(known.features), "groups": known.units}
    return found
