"""The stages that a method lists: what the fit loop does, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.training.recipe import Recipe

if TYPE_CHECKING:
    from acclimate.training.batch import Batch
    from acclimate.training.feeds import Feed


@dataclass(frozen=True)
class Turn:
    """One update within a step: an optimiser of its own minimises the sum of the terms of `loss` over `parameters`.

    Attributes:
        loss: maps the batches of the step to named, already weighted terms, each a scalar tensor.
        parameters: what is learned in this turn.
        rates: for each of them a multiple of the recipe's learning rate; none: 1 for all.
        limits: for each of them the largest norm of its own gradient, or none; none: no such limits.
    """

    loss: Callable[..., dict[str, Tensor]]
    parameters: Sequence[nn.Parameter]
    rates: Sequence[float] | None = None
    limits: Sequence[float | None] | None = None

    def __post_init__(self) -> None:
        """Refuse rates or limits for other parameters."""
        for values, kind in ((self.rates, "rates"), (self.limits, "limits")):
            if values is not None and len(values) != len(self.parameters):
                raise ValueError(f"{len(self.parameters)} parameters, but {len(values)} {kind}")


@dataclass(frozen=True)
class GradientStage:
    """Minimise the sum of the terms of `loss` over `parameters`.

    Attributes:
        name: short word for progress and `log.jsonl`.
        recipe: optimiser, schedule, batch size.
        epochs: passes over the training images.
        loss: maps a batch to named, already weighted terms, each a scalar tensor.
        parameters: what is learned in this stage.
        rates: for each of them a multiple of the recipe's learning rate; none: 1 for all.
        drop_last: leave out the images of an epoch that fill no batch, unless there is no other.
        averaging: one weight an epoch, or none; at the end of the stage the learned tensors become the mean, so
            weighted, of what they were after each epoch.
        watched: names of terms that are only written to the log, not minimised.
        divisible: whether every term is a mean over the images of a batch, each by itself, or does not depend on them,
            so that several processes may each take some of the images, see `Team`.
        counts: over how many images of a batch the terms are means that leave some of them out, by their names.
        rows: (N,) which of the training images are learned from, or none: all of them.
        wanted: asked when the turn of the stage comes, and where it says no the stage is left out; none: it is wanted.
    """

    name: str
    recipe: Recipe
    epochs: int
    loss: Callable[[Batch], dict[str, Tensor]]
    parameters: Sequence[nn.Parameter]
    averaging: Sequence[float] | None = None
    rates: Sequence[float] | None = None
    drop_last: bool = False
    watched: frozenset[str] = frozenset()
    divisible: bool = False
    counts: Callable[[Batch], Mapping[str, int]] | None = None
    rows: Tensor | None = None
    wanted: Callable[[], bool] | None = None

    batches: ClassVar[int] = 1

    @cached_property
    def turns(self) -> tuple[Turn, ...]:
        """The only turn of each step."""
        return (Turn(self.loss, self.parameters, self.rates),)

    def __post_init__(self) -> None:
        """Refuse rates for other parameters, and two rules for what is kept."""
        _ = self.turns  # refuses rates for other parameters
        if self.averaging is None:
            return
        if len(self.averaging) != self.epochs or not sum(self.averaging) > 0:
            raise ValueError(f"stage '{self.name}': {self.epochs} epochs need as many weights, not all of them zero")
        if self.recipe.select != "last":
            raise ConfigError(
                f"select={self.recipe.select}: the stage '{self.name}' averages its epochs, so none of them can be "
                "selected; use select=last, or switch the averaging off"
            )


@dataclass(frozen=True)
class AlternatingStage:
    """Several networks that learn against each other, one turn each in every step.

    Attributes:
        name, recipe, epochs, drop_last, watched: as in `GradientStage`.
        turns: in the order in which they come; random numbers are seeded before the first of them alone.
        batches: how many batches a step sees, drawn independently of each other; each loss gets all of them.
    """

    name: str
    recipe: Recipe
    epochs: int
    turns: Sequence[Turn]
    batches: int = 1
    drop_last: bool = False
    watched: frozenset[str] = frozenset()

    averaging: ClassVar[None] = None
    divisible: ClassVar[bool] = False
    counts: ClassVar[None] = None
    rows: ClassVar[None] = None
    wanted: ClassVar[None] = None


@dataclass(frozen=True)
class SolverStage:
    """Compute the learned tensors at once, such as a convex probe.

    Attributes:
        name: short word for progress and `log.jsonl`.
        solve: takes the training feed and the validation feed (or none) and returns figures for `log.jsonl`.
        rows, wanted: as in `GradientStage`.
    """

    name: str
    solve: Callable[[Feed, Feed | None], dict[str, float]]
    rows: Tensor | None = None
    wanted: Callable[[], bool] | None = None


DescentStage = GradientStage | AlternatingStage
Stage = DescentStage | SolverStage
