"""The part of a run that says what twice the labels would bring; its own figures do not depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.methods.kernel_ridge import TILE_SHARE
from acclimate.methods.parts.scales import Tiles, input_of, scales
from acclimate.runs.learning_curve import expectation, learning_curve
from acclimate.runs.parts import RunPart
from acclimate.training.feeds import chunks
from acclimate.training.inputs import DOMAIN, GRIDS, IMAGE, POOLED, tiled

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

CHUNK = 1024  # images read at once
KINDS = (POOLED, IMAGE, DOMAIN)  # of frozen features, each of which one vector tells of an image
ENTRY = "learning_curve"  # of the record


class MoreLabels(RunPart):
    """Refits of kernel ridge regression on parts of the training images; no other image is looked at.

    It reads the frozen features that the method reads, those at two scales where there are some, or else the image
    features of the backbone, which the baselines have read.
    """

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return what is expected; nothing where the images are too few, or very many."""
        train = experiment.trial.train
        units = [f"group {group}" if group else train.digest(row) for row, group in enumerate(train.groups)]
        points, shares = frozen_points(method, experiment)
        curve = learning_curve(points, shares, torch.from_numpy(train.labels), units)
        return {} if curve is None else {ENTRY: expectation(curve)}


def frozen_points(method: Method, experiment: Experiment) -> tuple[list[Tensor], list[float]]:
    """Return what a method reads of the training images (N, F_k), L2-normalised, and the share of each kernel."""
    read = method.inputs.prediction
    found = [(kind, grid) for kind in KINDS for grid in GRIDS if tiled(kind, grid) in read]
    found = found or [(kind, 0) for kind in KINDS if kind in read] or [(IMAGE, 0)]
    configs = [(kind, Tiles(tiles="mean+spread", grid=grid) if grid else Tiles()) for kind, grid in found]
    names = frozenset(input_of(config, kind) for kind, config in configs)
    batches = list(chunks(experiment.feed(method, "train", names), CHUNK))
    points: list[Tensor] = []
    shares: list[float] = []
    for kind, config in configs:
        columns = zip(*(scales(batch, config, kind) for batch in batches), strict=True)
        some = [torch.cat(column).double().cpu() for column in columns]
        of_each = [1.0] if len(some) == 1 else [1.0 - TILE_SHARE, TILE_SHARE]
        points += some
        shares += [share / len(configs) for share in of_each]
    return points, shares
