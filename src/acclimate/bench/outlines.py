"""What a bench would do, as far as its spec tells before the data are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from acclimate.bench.spec import Spec


@dataclass(frozen=True)
class Row:
    """The jobs of one method, by one protocol, on one data set, or on those that a trial spans.

    Attributes:
        protocol, data, method: as tables call them.
        trials: how many there are; none where only the data tell.
        shots, seeds, backbones: how many of each there are in every trial.
    """

    protocol: str
    data: str
    method: str
    trials: int | None
    shots: int
    seeds: int
    backbones: int

    @property
    def jobs(self) -> int | None:
        """Their number; none where only the data tell."""
        return None if self.trials is None else self.trials * self.shots * self.seeds * self.backbones


def outline(spec: Spec) -> list[Row]:
    """Return the plan of a bench without loading anything."""
    return list(_rows(spec))


def _rows(spec: Spec) -> Iterator[Row]:
    for suite in spec.suites:
        protocol = suite.protocol
        counts = {"shots": len(set(suite.shots)), "seeds": len(set(suite.seeds)), "backbones": len(set(spec.backbones))}
        for names in [suite.data] if protocol.several_sets else [(name,) for name in suite.data]:
            trials = protocol.count_trials(names)
            for contender in suite.contenders:
                yield Row(protocol.name, "+".join(names), contender.label, trials, **counts)


def missing_data(spec: Spec) -> dict[str, Path]:
    """Return where the data sets should lie that suites use and that are not there, by name."""
    used = dict.fromkeys(name for suite in spec.suites for name in suite.data)
    return {name: spec.data[name].path for name in used if not spec.data[name].path.exists()}
