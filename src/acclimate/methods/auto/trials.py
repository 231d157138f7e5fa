"""Trials of candidates that descend gradients: copies that each learn without a fold, as far as the time suffices."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from acclimate.methods.capabilities import Classifier
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts import folds
from acclimate.training.feeds import Feed
from acclimate.training.stages import GradientStage, SolverStage, Stage

FOLDS = 3  # usual ones: each candidate is learned so many times, and once more from all images


class Trials(nn.Module):
    """For each candidate a copy for every fold of the training images, which learns from the others.

    Args:
        members: the candidates themselves, by name, which learn from all images.
        again: makes a copy of one that has learned nothing.
        facts: of the training images.
        fold: of each training image (N,).
        seconds: time for all of them, which is spent on one after another; none: all are trained.
    """

    taken: Tensor

    def __init__(
        self,
        members: Mapping[str, Classifier],
        again: Callable[[Classifier], Classifier],
        facts: TrainingFacts,
        fold: Tensor,
        seconds: float | None,
    ) -> None:
        super().__init__()
        self.members, self.facts, self.fold, self.seconds = dict(members), facts, fold, seconds
        self.copies = nn.ModuleDict({name: self._copies(one, again) for name, one in members.items()})
        device = next(iter(members.values())).backbone.device
        self.register_buffer("taken", torch.zeros(len(members), device=device))  # which of them are trained (K,)

    def _copies(self, one: Classifier, again: Callable[[Classifier], Classifier]) -> nn.ModuleList:
        copies = nn.ModuleList()
        for rows in self._learned_from():
            copy = again(one)
            copy.prepare(self.facts.among(rows.tolist()))
            copies.append(copy)
        return copies

    def _learned_from(self) -> list[Tensor]:
        """Return which images each copy learns from, in the order of the folds; none where there is one fold."""
        return [(self.fold != number).nonzero()[:, 0] for number in self.fold.unique()] if self.fold.any() else []

    def stages(self, name: str) -> list[Stage]:
        """Return the choice of those for which there is time, and what these learn: first the copies, then itself.

        Args:
            name: of the ensemble.
        """
        found: list[Stage] = [SolverStage(f"{name}: plan", lambda train, val: self._plan(train))]
        for place, member in enumerate(self.members):
            wanted = self._wanted(place)
            for fold, rows, stages in self._lessons(member):
                title = f"{member} without fold {fold}" if fold else member
                for number, stage in enumerate(stages):
                    called = f"{title}, {number + 1} of {len(stages)}" if len(stages) > 1 else title
                    found.append(replace(stage, name=called, rows=rows, wanted=wanted))
        return found

    def _lessons(self, member: str) -> Iterator[tuple[int, Tensor | None, Sequence[GradientStage | SolverStage]]]:
        """Yield the fold that is left out, counted from 1, which images are learned from, and the stages; 0: all."""
        copies = cast("nn.ModuleList", self.copies[member])
        for number, (copy, rows) in enumerate(zip(copies, self._learned_from(), strict=True)):
            yield number + 1, rows, _stages(cast("Classifier", copy), self.facts.among(rows.tolist()))
        yield 0, None, _stages(self.members[member], self.facts)

    def _wanted(self, place: int) -> Callable[[], bool]:
        return lambda: bool(self.taken[place])

    # -------------------------------------------------------------------------------------------------------- the plan

    def _plan(self, train: Feed) -> dict[str, Any]:
        """Decide which candidates are trained, and return it with the time that they are expected to take."""
        if not self.fold.any():  # nothing can be left out, so that they could not be weighed
            return {"trained": []}
        if self.seconds is None:
            self.taken.fill_(1.0)
            return {"trained": list(self.members)}
        left, expected = self.seconds, {}
        for place, member in enumerate(self.members):
            expected[member] = self._expected(member, train)
            if expected[member] <= left:
                left -= expected[member]
                self.taken[place] = 1.0
        chosen = [member for member, taken in zip(self.members, self.taken.tolist(), strict=True) if taken]
        return {"trained": chosen, "expected_seconds": expected}

    def _expected(self, member: str, train: Feed) -> float:
        """Return how long all lessons of a candidate take by the time of one step of each of its stages."""
        steps = {
            number: step_seconds(self.members[member], stage, train)
            for number, stage in enumerate(_stages(self.members[member], self.facts))
            if isinstance(stage, GradientStage)
        }
        total = 0.0
        for _, rows, stages in self._lessons(member):
            count = len(self.fold) if rows is None else len(rows)
            for number, stage in enumerate(stages):
                if isinstance(stage, GradientStage):
                    total += steps[number] * stage.epochs * math.ceil(count / stage.recipe.batch_size)
        return total

    # ------------------------------------------------------------------------------------------------------ the result

    def left_out(self, train: Feed) -> dict[str, Tensor]:
        """Return log p(c|x) (N, C) of the training images out of fold, by each candidate that was trained."""
        found = {}
        for place, (name, copies) in enumerate(self.copies.items()):
            if self.taken[place]:
                self.members[name].eval()
                found[name] = self._said(cast("nn.ModuleList", copies.eval()), train)
        return found

    def _said(self, copies: nn.ModuleList, train: Feed) -> Tensor:
        ready = (cast("Classifier", copy) for copy in copies)  # in the order of the folds
        return folds.left_out(lambda kept: next(ready), folds.log_probabilities, train, self.fold)


def _stages(one: Classifier, facts: TrainingFacts) -> Sequence[GradientStage | SolverStage]:
    return cast("Sequence[GradientStage | SolverStage]", one.stages(facts))


def step_seconds(one: Classifier, stage: GradientStage, train: Feed) -> float:
    """Return how long a step of a stage takes, with its batch and its gradients; nothing is learned in it.

    Args:
        one: who learns.
        stage: of its training.
        train: the images.
    """
    rows, device = torch.arange(min(stage.recipe.batch_size, len(train))), one.backbone.device
    one.train()
    with torch.enable_grad(), torch.random.fork_rng():
        for _ in range(2):  # what is made on first use does not count
            started = time.perf_counter()
            loss = torch.stack([term.float() for term in stage.loss(train.batch(rows, 0).to(device)).values()]).sum()
            gradients = torch.autograd.grad(loss, list(stage.parameters), allow_unused=True)
            float(loss.detach() + sum(some.sum() for some in gradients if some is not None))  # waits for the device
            seconds = time.perf_counter() - started
    return seconds
