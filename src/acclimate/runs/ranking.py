"""Which backbone suits some images: leave-one-out of a kernel ridge regression on the features of each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate import arguments
from acclimate.backbones.at_hand import VISION, AtHand, encoders_at_hand, find_encoder, load_encoder
from acclimate.backbones.kinds import GENERATIVE, KINDS
from acclimate.data import ImageData, load_data, sample_shots
from acclimate.data.folds import held_together
from acclimate.data.ordering import some
from acclimate.errors import BackboneError, ConfigError, DataError
from acclimate.methods.kernel_ridge import scale_shares
from acclimate.methods.parts import kernels, ridge
from acclimate.methods.parts.scales import TwoScales, scales
from acclimate.metrics import compare_hits, evaluate_classification
from acclimate.training.batch import Batch
from acclimate.training.devices import resolve_device
from acclimate.training.encoding import tiled_features
from acclimate.training.inputs import DOMAIN, IMAGE, POOLED, tiled
from acclimate.training.progress import Progress, Silent

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, Encoder
    from acclimate.backbones.backbone import Backbone

TIMED = 8  # images whose reading and encoding is timed
SCALES = TwoScales()  # what is read of each image: the usual two scales
FEATURES = (POOLED, DOMAIN, IMAGE)  # the first of these that an encoder gives is read

logger = logging.getLogger("acclimate.runs")


@dataclass(frozen=True)
class Ranked:
    """What a backbone is worth on some images.

    Attributes:
        name: id or folder.
        kind: "dual encoder", "generative VLM" or "vision encoder", which serves as domain encoder.
        parameters: of the whole model.
        milliseconds: that it takes to read and encode an image at two scales, here and now.
        metrics: of the images left out, see `evaluate_classification`.
        against_first: how its hits differ from those of the first of the ranking, see `compare_hits`; none for that.
    """

    name: str
    kind: str
    parameters: int
    milliseconds: float
    metrics: dict[str, Any]
    against_first: dict[str, Any] | None = None

    @property
    def is_generative(self) -> bool:
        """Whether it is a generative VLM, of which the image tower was ranked."""
        return self.kind == KINDS[GENERATIVE].title

    @property
    def is_domain_encoder(self) -> bool:
        """Whether it serves as domain encoder, and as no backbone."""
        return self.kind == VISION

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def rank_backbones(
    data: ImageData | str | os.PathLike[str] | Any,
    backbones: Any = (),
    *,
    only: bool = False,
    shots: int | str = 16,
    seed: int = 1,
    device: str = "auto",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Ranked]:
    """Rank backbones and domain encoders by how well their frozen features tell the labelled images apart.

    Each is judged by exact leave-one-out of kernel ridge regression on its features at two scales, before the
    projection where there is one, with the usual settings, so that nothing but a temperature is chosen by what is
    measured. Images of a group, and exact copies, are left out together; classes with a single such unit are not
    judged. Only training images are read; test images never.

    Args:
        data: what `load_data` returns or reads.
        backbones: an id or a folder of any kind, or a list of them, ranked beside those at hand, which are the embedded
            ones and those in the Hub's cache.
        only: rank those that are named, and no others.
        shots: training images per class, `all`, or `budget:64`; at most some 5,000 are judged.
        seed: of the shots.
        device: `auto`, `cpu`, `cuda` or `mps`.
        cache_dir: folder of the feature cache; none computes features anew.
        progress: told of every batch.
        options: of `load_data`, where `data` is not loaded yet.

    Returns:
        The best first: by balanced accuracy, of equals by log loss.

    Raises:
        ConfigError: an argument of a wrong type, or `only` without a name.
        DataError: data that cannot be loaded, or no class of which two images can be told apart from one.
        BackboneError: a backbone that is named and cannot be loaded. Of those at hand it is left out with a warning.
    """
    several = backbones if isinstance(backbones, list | tuple) else [backbones]
    named = [find_encoder(str(arguments.path("backbones", one))) for one in several]
    if only and not named:
        raise ConfigError("`only` ranks what is named; name some with `backbone`")
    arguments.progress("progress", progress)
    cache_dir = arguments.optional(arguments.path, "cache_dir", cache_dir)
    place = resolve_device(device)
    train = sample_shots(load_data(data, **options).train, shots, arguments.whole("seed", seed))
    train, units = _judged(train)
    found: list[tuple[Ranked, np.ndarray]] = []
    for one in {one.name: one for one in [*([] if only else encoders_at_hand()), *named]}.values():
        try:
            encoder = load_encoder(one, place)
        except BackboneError as error:
            if one in named:
                raise
            logger.warning("%s is left out: %s", one.name, error)
            continue
        found.append(_rank(one, encoder, train, units, cache_dir, progress or Silent()))
        del encoder  # one at a time
    found.sort(key=lambda pair: _order(pair[0]))
    (best, first), *others = found
    return [best, *(replace(one, against_first=compare_hits(hits, first, units)) for one, hits in others)]


def _order(one: Ranked) -> tuple[float, float, str]:
    return -one.metrics["balanced_accuracy"]["value"], one.metrics["nll"]["value"], one.name


def _judged(train: ImageData) -> tuple[ImageData, list[str]]:
    """Return the images of classes of which something is left when one is left out, and the unit of each image.

    Raises:
        DataError: there are not two such classes.
    """
    if len(train) > ridge.CENTRES:
        train = train.select(ridge.spread_out(torch.from_numpy(train.labels), ridge.CENTRES).numpy())
    units = held_together(train)
    known = [len({units[row] for row in np.flatnonzero(train.labels == label)}) for label in range(len(train.counts()))]
    kept = [row for row, label in enumerate(train.labels) if known[label] > 1]
    if sum(count > 1 for count in known) < 2:
        raise DataError(
            f"{train.name}: to leave one out takes two classes with two training images each, of different groups; "
            "label more of them, or raise `shots`"
        )
    alone = [name for name, count in zip(train.class_names, known, strict=True) if count == 1]
    if alone:
        logger.info("%s: not judged, for nothing is left of them without one: %s", train.name, some(alone))
    names = [name for name, count in zip(train.class_names, known, strict=True) if count > 1]
    return train.filter_classes(names), [units[row] for row in kept]


def _rank(
    one: AtHand,
    encoder: Backbone | DomainEncoder,
    train: ImageData,
    units: list[str],
    cache_dir: Path | None,
    progress: Progress,
) -> tuple[Ranked, np.ndarray]:
    """Return what an encoder is worth, and whether each image was given its class when it was left out."""
    kind = next(kind for kind in FEATURES if kind in encoder.widths)
    spent = _milliseconds(encoder, train, kind)
    features = tiled_features(encoder, train, SCALES.grid, cache_dir, progress, kind)
    shares = left_out_probabilities(scales_of(features, kind), torch.from_numpy(train.labels), units)
    metrics = evaluate_classification(shares, train.labels, train.class_names, groups=units)
    parameters = encoder.describe()["parameters"]
    return Ranked(one.name, one.kind, parameters, spent, metrics), shares.argmax(1) == train.labels


def scales_of(features: Tensor, kind: str) -> list[Tensor]:
    """Return what is read of images and tiles (N, 1 + grid^2, F) at the usual two scales, in double precision."""
    batch = Batch(**{tiled(kind, SCALES.grid): features})
    return [some.double() for some in scales(batch, SCALES, kind)]


def left_out_probabilities(points: Sequence[Tensor], labels: Tensor, units: Sequence[str]) -> np.ndarray:
    """Return probabilities (N, C) of each image by a kernel ridge regression with the usual settings without its unit.

    Args:
        points: (N, F_k) of the whole image and of its tiles.
        labels: (N,).
        units: (N), names of what is left out together.
    """
    targets = ridge.uniform_targets(F.one_hot(labels).double())
    choice = ridge.usual_settings(points, scale_shares(len(points)))
    kernel = kernels.kernel_of(points, points, choice.betas, choice.shares)
    _, number, sizes = np.unique(np.array(units), return_inverse=True, return_counts=True)
    together = [torch.from_numpy(np.flatnonzero(number == unit)) for unit in np.flatnonzero(sizes > 1)]
    left_out = ridge.solve(kernel, targets, choice.strength, together).left_out
    return (left_out / ridge.judge(left_out, targets)[1]).softmax(-1).numpy()


def _milliseconds(encoder: Encoder, data: ImageData, kind: str) -> float:
    """Return the time to read and encode an image, the first one aside, which is slower."""
    few = data.select(range(min(TIMED, len(data))))
    tiled_features(encoder, few.select([0]), SCALES.grid, kind=kind)
    started = time.perf_counter()
    tiled_features(encoder, few, SCALES.grid, kind=kind)
    return 1000.0 * (time.perf_counter() - started) / len(few)
