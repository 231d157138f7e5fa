"""The stages that a method lists: what the fit loop does, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.training.recipe import Recipe

if TYPE_CHECKING:
    from acclimate.data.batch import Batch
    from acclimate.training.feeds import Feed


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
        averaging: one weight an epoch, or none; at the end of the stage the learned tensors become the mean, so
            weighted, of what they were after each epoch.
    """

    name: str
    recipe: Recipe
    epochs: int
    loss: Callable[[Batch], dict[str, Tensor]]
    parameters: Sequence[nn.Parameter]
    averaging: Sequence[float] | None = None
    rates: Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Refuse rates for other parameters, and two rules for what is kept."""
        if self.rates is not None and len(self.rates) != len(self.parameters):
            raise ValueError(f"stage '{self.name}': {len(self.parameters)} parameters, but {len(self.rates)} rates")
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
class SolverStage:
    """Compute the learned tensors at once, such as a convex probe.

    Attributes:
        name: short word for progress and `log.jsonl`.
        solve: takes the training feed and the validation feed (or none) and returns figures for `log.jsonl`.
    """

    name: str
    solve: Callable[[Feed, Feed | None], dict[str, float]]


Stage = GradientStage | SolverStage
