"""What a method may know of the data that it is to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acclimate.prompts import PromptSet


@dataclass(frozen=True)
class ClassSet:
    """The classes of one of several data sets that are learned from together, in the words of its domain.

    Attributes:
        name: of the data set.
        class_names: its classes, which may be classes of other sets too.
        prompts: their words, templates and instruction.
    """

    name: str
    class_names: tuple[str, ...]
    prompts: PromptSet


@dataclass(frozen=True)
class TrainingFacts:
    """What a method may know of the training set when it prepares for it and lists its stages.

    Attributes:
        images: number of training images.
        shots: largest number of images of one class.
        domains: number of named domains, 0 where there are none.
        validation: number of validation images that epochs may be chosen by.
        sets: the data sets that are learned from together, in the order of the numbers in `sets` of a batch; nothing
            where there is one.
        seed: of the run, for what is drawn from the training images.
        groups: the group of each training image, as numbers, of which those of a group are never told apart by what is
            learned from some and judged on others; nothing where each is one of its own.
        labels: the class of each training image; nothing where there are no classes.
        places: the domain of each training image, as a number; nothing where there are no domains.
    """

    images: int
    shots: int
    domains: int = 0
    validation: int = 0
    sets: tuple[ClassSet, ...] = ()
    seed: int = 0
    groups: tuple[int, ...] = ()
    labels: tuple[int, ...] = ()
    places: tuple[int, ...] = ()

    def among(self, rows: Sequence[int]) -> TrainingFacts:
        """Return what is known of some of the training images, which have classes.

        Args:
            rows: (M,) which.
        """
        labels, groups, places = (
            tuple(told[row] for row in rows) if told else () for told in (self.labels, self.groups, self.places)
        )
        kept = replace(self, images=len(rows), labels=labels, groups=groups, places=places)
        return replace(kept, shots=max(Counter(labels).values()), validation=0)
