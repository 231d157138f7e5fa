"""`Within`: what is said in a hierarchy of classes, as deep as is sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.errors import ConfigError
from acclimate.metrics import tempered
from acclimate.tasks.classified import Node

if TYPE_CHECKING:
    from acclimate.data.hierarchy import Hierarchy
    from acclimate.methods import Classifier

FLOOR = 0.8
SLACK = 1e-9  # sums of all classes are 1 but for rounding


@dataclass(frozen=True)
class Within:
    """A hierarchy, and how probable a node of it must be to be said.

    Attributes:
        hierarchy: of the classes.
        floor: least sum of the probabilities of the classes below a node.
    """

    hierarchy: Hierarchy
    floor: float = FLOOR

    def check(self, class_names: Sequence[str]) -> None:
        """Refuse other classes than those of the hierarchy.

        Raises:
            ConfigError: so they are.
        """
        if tuple(class_names) != self.hierarchy.class_names:
            raise ConfigError(
                f"`hierarchy` is of {', '.join(self.hierarchy.class_names)}, and told apart are "
                f"{', '.join(class_names)}; leave out `classes_of` and `rebind`, or give one of these"
            )

    def nodes(self, probabilities: np.ndarray, temperature: float = 1.0) -> list[Node]:
        """Return for each image the deepest node that reaches the floor, of several on a level the most probable.

        Args:
            probabilities: (N, C) of the classes.
            temperature: of these.
        """
        tree = self.hierarchy
        shares = probabilities if temperature == 1.0 else tempered(probabilities, temperature)
        names = list(tree.levels)
        levels = np.array([tree.levels[name] for name in names])
        sums = np.stack([shares[:, list(tree.members[name])].sum(axis=1) for name in names], axis=1)  # (N, nodes)
        sure = sums >= self.floor - SLACK
        depth = np.where(sure, levels, 0).max(axis=1)
        best = np.where(sure & (levels == depth[:, None]), sums, -1.0).argmax(axis=1)
        return [
            Node(names[node], int(level), float(row[node])) if level else Node("", 0, 1.0)
            for node, level, row in zip(best, depth, sums, strict=True)
        ]

    def holds(self, node: Node, label: int) -> bool:
        """Return whether a class is below a node; what says nothing is right."""
        return not node.level or label in self.hierarchy.members[node.name]


def temperature_of(method: Classifier) -> float:
    """Return the temperature that fits the probabilities of a method best, 1 where nothing has been held out."""
    trust = method.trust
    if trust is None or trust.held_out is None or not trust.serves(method.class_names):
        return 1.0
    return trust.held_out.temperature


def told_levels(graded: Mapping[str, Any]) -> str:
    """Return in words how deep answers in a hierarchy are, and how often they are right."""
    parts = [
        f"level {level} for {100 * row['share']['value']:.1f} %, {100 * row['accuracy']['value']:.1f} % of them right"
        for level, row in graded["levels"].items()
    ]
    parts.append(f"no node for {100 * graded['unanswered']['value']:.1f} %")
    return f"in the hierarchy at {graded['floor']:.0%}: {', '.join(parts)}"
