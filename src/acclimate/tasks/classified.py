"""What a classifier says of images: labels, probabilities, and, where it has a `Trust`, sets and p-values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from acclimate.data import ImageData
from acclimate.errors import DataError, TrainingError
from acclimate.methods import AnsweringClassifier, Classifier
from acclimate.methods.trust import COVERAGES
from acclimate.prompts import match_answer
from acclimate.training.feeding import evaluation_feed
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.methods.trust import Trust
    from acclimate.training.inputs import Given

BATCH_SIZE = 256


class Node(NamedTuple):
    """A node of a hierarchy, its level, 1 at the top, and the probability of all classes below it.

    Where no node is sure enough, the name is empty and the level 0; that all classes together are right is certain.
    """

    name: str
    level: int
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What the adapter says of one image.

    Attributes:
        path: the file, or empty for an image in memory.
        label: most probable class; empty where the image could not be read.
        probability: of that class, 0 to 1.
        probabilities: (C,) in the order of the adapter's classes; empty where the image could not be read.
        error: why the image could not be read, else empty.
        spread: of a method that predicts several times, the standard deviation of `probability`; else none.
        set: where sets are asked for, the classes that are, the most probable one first; else none.
        p_known: how like the training images it is, a p-value; none where nothing tells.
        known: whether that is enough to call it known; none where nothing tells.
        node: where a hierarchy is given, the deepest node of it that is sure enough; else none.
    """

    path: str
    label: str
    probability: float
    probabilities: np.ndarray
    error: str = ""
    spread: float | None = None
    set: tuple[str, ...] | None = None
    p_known: float | None = None
    known: bool | None = None
    node: Node | None = None


class Answers(NamedTuple):
    """What a method says of images: probabilities (N, C), and labels (N,) among the `class_names`.

    `written` are the classes (N) that a method which writes text has written, none where it matches no class. `sets`
    are prediction sets (N, C) by the coverage that is asked, and `p_known` (N,) p-values, where there is a `Trust`.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    written: Sequence[int | None] | None = None
    sets: Mapping[float, np.ndarray] = MappingProxyType({})
    p_known: np.ndarray | None = None


def require_images(data: ImageData) -> None:
    """Refuse to measure on nothing.

    Raises:
        DataError: there is no image.
    """
    if len(data) == 0:
        raise DataError(f"{data.name}: there is no image to evaluate on; give a split or a data set that has some")


@torch.no_grad()
def probabilities(method: Classifier, feed: Feed) -> np.ndarray:
    """Return softmax probabilities (N, C) of a feed, in float64, in the order of the method's classes.

    Raises:
        TrainingError: when they are not finite, as after a last step that was too large.
    """
    method.eval()
    device = method.backbone.device
    logits = (method.of_bound(method.logits(batch.to(device))) for batch in chunks(feed, BATCH_SIZE))
    rows: list[Tensor] = [few.double().softmax(dim=-1).cpu() for few in logits]
    scores = torch.cat(rows)
    if not scores.isfinite().all():
        raise TrainingError(
            f"{method.name} gives probabilities that are not finite; train it with a lower learning rate"
        )
    return scores.numpy()


def trusted(method: Classifier, trust: Trust, answers: Answers, feed: Feed, data: ImageData, given: Given) -> Answers:
    """Return answers with prediction sets, and with p-values where what tells them is read or kept anyway."""
    found = answers
    if trust.held_out is not None and trust.serves(method.class_names):
        sets = {asked: trust.held_out.sets(answers.probabilities, asked) for asked in COVERAGES}
        found = found._replace(sets=sets)
    if trust.known is not None:
        look = trust.known.look
        read = look.reads in method.inputs.prediction
        own = feed if read else evaluation_feed({look.reads}, data, given, method.reading)
        p_known = [trust.known.p_known(look.features(batch)) for batch in chunks(own, BATCH_SIZE)]
        found = found._replace(p_known=np.concatenate(p_known))
    return found


def ordered_set(shares: np.ndarray, inside: np.ndarray, class_names: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of a prediction set, the most probable first.

    Args:
        shares: (C,) their probabilities.
        inside: (C,) whether they are in it.
        class_names: their names.
    """
    return tuple(class_names[number] for number in (-shares).argsort(kind="stable") if inside[number])


@torch.no_grad()
def written_classes(method: AnsweringClassifier, feed: Feed) -> list[int | None]:
    """Return for each image of a feed the class that the method writes when it is asked, or none of them."""
    method.eval()
    device = method.backbone.device
    return [
        match_answer(text, method.answers)
        for batch in chunks(feed, BATCH_SIZE)
        for text in method.write(batch.to(device))
    ]


def class_indices(data: ImageData, class_names: tuple[str, ...]) -> np.ndarray:
    """Return the labels (N,) of a data set as indices into `class_names`.

    Raises:
        DataError: when an image has a class that is not among them.
    """
    place = {name: number for number, name in enumerate(class_names)}
    present = [name for name, count in data.counts().items() if count]
    unknown = [name for name in present if name not in place]
    if unknown:
        raise DataError(
            f"{data.name}: the adapter does not know the class '{unknown[0]}'"
            f"{f' and {len(unknown) - 1} more' if len(unknown) > 1 else ''} (it knows {', '.join(class_names)}); "
            "rename the labels, or bind it to the classes of the data (`rebind`) where its method can"
        )
    translate = np.array([place.get(name, -1) for name in data.class_names])
    return translate[data.labels]
