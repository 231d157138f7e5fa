"""The optimisers of a stage: parameters in groups that share a rate and a decay, and the rate of a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from acclimate.training.recipe import Recipe
    from acclimate.training.stages import Turn


def make_optimizer(recipe: Recipe, turn: Turn) -> torch.optim.Optimizer:
    """Return the optimiser of a turn."""
    groups = _groups(recipe, turn)
    if recipe.optimizer == "adamw":
        betas = (recipe.momentum, recipe.second_beta)
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, eps=recipe.epsilon, fused=True)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum)


def _groups(recipe: Recipe, turn: Turn) -> list[dict[str, Any]]:
    """Return the parameters in groups that share a multiple of the learning rate and a weight decay."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for number, parameter in enumerate(turn.parameters):
        decay = recipe.weight_decay if recipe.decay_vectors or parameter.ndim > 1 else 0.0
        rate = 1.0 if turn.rates is None else turn.rates[number]
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": some, "rate": rate, "weight_decay": decay} for (rate, decay), some in groups.items()]


def set_rate(optimizers: Sequence[torch.optim.Optimizer], lr: float) -> float:
    """Give every group its multiple of a learning rate, and return the rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group["rate"]
    return lr
