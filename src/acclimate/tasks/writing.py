"""What the tasks have in common in which a generative model writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from acclimate.data import CaptionData, QuestionData, parse_budget
from acclimate.methods import Answerer, Method, TrainingFacts
from acclimate.tasks.contract import Task

if TYPE_CHECKING:
    from acclimate.training.stages import Stage

W = TypeVar("W", CaptionData, QuestionData)


class Written(NamedTuple):
    """What a method has written about each image, what it is compared with, and what else was measured of each."""

    texts: Sequence[str]
    references: Sequence[Sequence[str]]
    judged: Mapping[str, np.ndarray] = {}


class Writing(Task[W]):
    """Base of these tasks.

    Attributes:
        subject: what records call the texts of the data.
    """

    capability: ClassVar[type[Method]] = Answerer
    subject: ClassVar[str]

    def facts_of(self, data: W) -> dict[str, Any]:
        """Return a hash of the texts."""
        return {self.subject: data.fingerprint[:16]}

    def parse_shots(self, shots: int | str) -> str:
        """Return `budget:N`, or `all` for anything else."""
        return parse_budget(shots)

    def facts(self, train: W) -> TrainingFacts:
        """Return the number of rows."""
        return TrainingFacts(len(train), len(train))

    def stages(self, method: Answerer, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stages that learn to write."""
        return method.answer_stages(facts)

    def decisive(self, common: dict[str, Any], splits: Mapping[str, W]) -> dict[str, Any]:
        """Return what decides these runs: the texts in place of prompts and classes."""
        told = {name: value for name, value in common.items() if name not in ("classes", "prompts", "test_prompts")}
        return {"task": self.name, self.subject: [part.fingerprint for part in splits.values()], **told}
