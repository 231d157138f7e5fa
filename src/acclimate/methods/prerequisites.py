"""What a method builds on, as a run makes it first: other runs, files in their place, a task-specific model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder


@dataclass(frozen=True)
class GivenFile:
    """A file with what a prerequisite has learned, which the user gives in its place.

    Attributes:
        folder: where it is looked for.
        patterns: groups of names, with wildcards; the file is the only one that the first group with any finds.
        read: gives the learned tensors, by name, of the bytes of the file and the backbone; raises a DataError whose
            message goes on behind the name of the file.
        words: what messages call it.
        advice: what to give.
    """

    folder: str
    patterns: tuple[tuple[str, ...], ...]
    read: Callable[[bytes, DualEncoder], Mapping[str, Tensor]]
    words: str
    advice: str


@dataclass(frozen=True)
class Prerequisite:
    """A run that a method builds on: another method, learned from the training images or those of one domain.

    Attributes:
        method: its name.
        settings: of that method.
        domain: the domain whose images are learned from; none: all of them.
        seed: of that run; none: that of the run which builds on it.
        given: a file with what such a run has learned, so that none is made.
        run: folder of such a run, which is finished, so that none is made.
        alike: settings in which that one must be as this says.
        dual: whether it adapts the dual encoder inside a composed backbone, in place of the backbone.
        advice: what to do where the method cannot learn from the data.
    """

    method: str
    settings: Mapping[str, Any]
    domain: str | None = None
    seed: int | None = None
    given: GivenFile | None = None
    run: str | None = None
    alike: tuple[str, ...] = ()
    dual: bool = False
    advice: str = ""


@dataclass(frozen=True)
class TaskModel:
    """A task-specific model that a run makes where no domain encoder is named: an encoder fine-tuned with labels.

    Attributes:
        encoder: what it is made from: a Hub id, a folder, or an embedded backbone, whose image tower is taken.
        settings: of its training.
    """

    encoder: str
    settings: Mapping[str, Any]
