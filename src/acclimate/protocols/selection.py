"""Selection rules: what a run may look at to choose its hyper-parameters and its epoch, after DomainBed.

Gulrajani and Lopez-Paz 2021 (arXiv 2007.01434), section 3: a result means nothing without the rule that selected it.
No rule but the oracle, which is named so, ever sees an image of the domain or the split that is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acclimate.errors import ConfigError
from acclimate.options import nearest


@dataclass(frozen=True)
class SelectionRule:
    """What a run may look at.

    Attributes:
        name: as in recipes and tables.
        epoch: "best-val" keeps the epoch with the best validation accuracy, "last" the last one.
        target: whether the validation images come from what is tested instead of what is trained on.
        meaning: one sentence.
    """

    name: str
    epoch: Literal["last", "best-val"]
    target: bool
    meaning: str


SELECTION_RULES = {
    rule.name: rule
    for rule in (
        SelectionRule(
            "last-step",
            "last",
            False,
            "the last epoch is kept; validation images of the training domains serve hyper-parameters such as the "
            "linear probe's C",
        ),
        SelectionRule(
            "training-domain-validation",
            "best-val",
            False,
            "the epoch with the best accuracy on validation images of the training domains is kept",
        ),
        SelectionRule(
            "oracle",
            "best-val",
            True,
            "the epoch with the best accuracy on validation images of the tested domain is kept: an upper bound, which "
            "nobody reaches who has no labels there",
        ),
    )
}


def get_selection_rule(name: str) -> SelectionRule:
    """Return the rule of a name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    if name not in SELECTION_RULES:
        known = ", ".join(SELECTION_RULES)
        raise ConfigError(f"unknown selection rule '{name}'{nearest(name, SELECTION_RULES)} (rules: {known})")
    return SELECTION_RULES[name]
