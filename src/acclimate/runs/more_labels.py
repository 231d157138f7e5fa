"""The part of a run that says what twice the labels would bring; its own figures do not depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.data.folds import held_together
from acclimate.methods.kernel_ridge import scale_shares
from acclimate.methods.trust import Look
from acclimate.runs.learning_curve import expectation, learning_curve
from acclimate.runs.parts import RunPart
from acclimate.training.feeds import chunks
from acclimate.training.inputs import DOMAIN

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

ENTRY = "learning_curve"  # of the record


class MoreLabels(RunPart):
    """Refits of kernel ridge regression on parts of the training images; no other image is looked at.

    It reads the frozen features that the method reads, those at two scales where there are some, or else the image
    features of the backbone, which the baselines have read; not those of a domain encoder that knows the images.
    """

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return what is expected; nothing where the images are too few, or very many."""
        train = experiment.trial.train
        units = held_together(train)
        points, shares = frozen_points(method, experiment)
        curve = learning_curve(points, shares, torch.from_numpy(train.labels), units)
        return {} if curve is None else {ENTRY: expectation(curve)}


def frozen_points(method: Method, experiment: Experiment) -> tuple[list[Tensor], list[float]]:
    """Return what a method reads of the training images (N, F_k), L2-normalised, and the share of each kernel."""
    read = [one for one in Look.among(method.inputs.prediction) if one.kind != DOMAIN or not experiment.encoder_knows]
    looks = [one for one in read if one.grid] or read or [Look()]
    feed = experiment.feed(method, "train", frozenset(one.reads for one in looks))
    batches = list(chunks(feed))
    points: list[Tensor] = []
    shares: list[float] = []
    for look in looks:
        columns = zip(*(look.scales(batch) for batch in batches), strict=True)
        some = [torch.cat(column).double().cpu() for column in columns]
        points += some
        shares += [share / len(looks) for share in scale_shares(len(some))]
    return points, shares
