"""Domain generalisation: learn in some acquisition domains, be tested in others that were never seen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from acclimate.data import ImageData
from acclimate.errors import DataError
from acclimate.options import option
from acclimate.protocols.contract import Protocol, Trial, draw_training, draw_validation, only, protocol
from acclimate.protocols.published import apply_rule, get_split_rule

log = logging.getLogger("acclimate.protocols")

UNION = "test"  # of all targets, pooled


@dataclass(frozen=True, kw_only=True)
class DomainGeneralisation(Protocol):
    """Base of both directions: some domains train, the others test, all with the same classes.

    Shots are drawn per class from the training domains pooled. All images of a target domain are measured, whatever
    their split; training and validation images of a group that reaches into a target are left out.
    """

    rules: ClassVar[tuple[str, ...]] = ("training-domain-validation", "last-step", "oracle")

    selection: str = option(
        "training-domain-validation", "training-domain-validation, last-step, or oracle: what the epoch is chosen by"
    )
    splits: str = option("own", "how training and validation images part: own (the data's split), or a published rule")

    def __post_init__(self) -> None:
        """Refuse an unknown split rule."""
        super().__post_init__()
        get_split_rule(self.splits)

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the domains."""
        data = only(sets, self.name)
        if len(data.domain_names) < 2:
            have = ", ".join(data.domain_names) or "none"
            raise DataError(
                f"{data.name}: {self.name} needs two domains or more and there are {have}; give a column `domain`, or "
                "folders domain/class/image"
            )
        unnamed = data.domains.count("")
        if unnamed:
            raise DataError(f"{data.name}: {unnamed} images have no domain; give each of them one, or leave them out")
        return data.domain_names

    def _trial(self, data: ImageData, sources: tuple[str, ...], shots: int | str, seed: int) -> Trial:
        data = apply_rule(self.splits, data)
        targets = tuple(name for name in data.domain_names if name not in sources)
        inside, outside = data.filter_domains(sources), data.filter_domains(targets)
        inside = _without_groups(inside, set(outside.groups) - {""})
        val = draw_validation(outside.val if self.rule.target else inside.val, shots, seed)
        if self.rule.target:  # what was chosen by is not measured
            looked_at = set(val.keys)
            outside = outside.select([row for row, key in enumerate(outside.keys) if key not in looked_at])
        tests = {name: outside.filter_domains([name]) for name in targets}
        if len(targets) > 1:
            tests[UNION] = outside
        return Trial(draw_training(inside.train, shots, seed), val, tests)


@protocol
@dataclass(frozen=True, kw_only=True)
class LeaveOneDomainOut(DomainGeneralisation):
    """Multi-source: train on all domains but one, test on that one; the trials are the domains left out.

    Source: Gulrajani and Lopez-Paz 2021 (arXiv 2007.01434), section 3; as in SPG (arXiv 2404.19286), section 5.2.
    """

    name: ClassVar[str] = "leave-one-domain-out"
    title: ClassVar[str] = "Domain generalisation, leave one domain out"

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of all domains but `trial`, and all images of that one."""
        data = only(sets, self.name)
        return self._trial(data, tuple(name for name in data.domain_names if name != trial), shots, seed)


@protocol
@dataclass(frozen=True, kw_only=True)
class SingleSource(DomainGeneralisation):
    """Single-source: train on one domain, test on each of the others and on their union; the trials are the sources.

    The union is pooled, so that large domains weigh more, as in the released code of SPG (arXiv 2404.19286).
    """

    name: ClassVar[str] = "single-source"
    title: ClassVar[str] = "Domain generalisation, single source"

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the domain `trial`, and all images of the others."""
        return self._trial(only(sets, self.name), (trial,), shots, seed)


def _without_groups(data: ImageData, groups: set[str]) -> ImageData:
    kept = [row for row, group in enumerate(data.groups) if group not in groups]
    if len(kept) < len(data):
        log.info("%s: %d images left out, whose group reaches into a tested domain", data.name, len(data) - len(kept))
        return data.select(kept)
    return data
