"""Domain generalisation: learn in some acquisition domains, be tested in others that were never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from acclimate.counting import counted
from acclimate.data import ImageData
from acclimate.errors import DataError
from acclimate.options import option
from acclimate.protocols.contract import Protocol, Trial, only, protocol, refuse_reserved
from acclimate.protocols.drawing import apart, draw_validation
from acclimate.protocols.layout import Layout
from acclimate.protocols.published import apply_rule, check_rule, get_split_rule

UNION = "test"  # of all targets, pooled


@dataclass(frozen=True, kw_only=True)
class DomainGeneralisation(Protocol):
    """Base of both directions: some domains train, the others test, all with the same classes.

    Shots are drawn per class from the training domains pooled. All images of a target domain are measured, whatever
    their split, but those that the oracle looks at.
    """

    rules: ClassVar[tuple[str, ...]] = ("training-domain-validation", "last-step", "oracle")

    selection: str = option("training-domain-validation", "rule by which epochs and hyper-parameters are chosen")
    splits: str = option("own", "how training and validation images part: own (the data's split), or a published rule")

    def __post_init__(self) -> None:
        """Refuse an unknown split rule."""
        super().__post_init__()
        get_split_rule(self.splits)

    def trials(self, sets: Mapping[str, ImageData]) -> tuple[str, ...]:
        """Return the domains.

        Raises:
            DataError: there are fewer than two, images without one, or no split that the split rule could take.
        """
        data = only(sets, self.name)
        if len(data.domain_names) < 2:
            have = ", ".join(data.domain_names) or "none"
            raise DataError(
                f"{data.name}: {self.name} needs two domains or more and there are {have}; give a column `domain`, or "
                "folders domain/class/image"
            )
        unnamed = data.domains.count("")
        if unnamed:
            count = counted(unnamed, "image has", "images have")
            raise DataError(f"{data.name}: {count} no domain; give each of them one, or leave them out")
        refuse_reserved(data.domain_names, "domain")
        check_rule(self.splits, data)
        return data.domain_names

    def _trial(
        self, data: ImageData, sources: Sequence[str], targets: Sequence[str], shots: int | str, seed: int
    ) -> Trial:
        data = apply_rule(self.splits, data)
        inside, outside = data.filter_domains(sources), data.filter_domains(targets)
        val = inside.val
        if self.rule.target:  # what was chosen by is not measured
            val = draw_validation(outside.val, shots, seed)
            outside = apart(outside, val)
            gone = [name for name in targets if name not in outside.domain_names]
            if gone:
                raise DataError(
                    f"{data.name}: the oracle looks at all images of the domain '{gone[0]}', so that none is left to "
                    "measure; give fewer shots, or choose another selection"
                )
        tests = {name: outside.filter_domains([name]) for name in targets}
        if len(targets) > 1:
            tests[UNION] = outside
        return self.make_trial(inside.train, val, tests, shots, seed)


@protocol
@dataclass(frozen=True, kw_only=True)
class LeaveOneDomainOut(DomainGeneralisation):
    """Multi-source: train on all domains but one, test on that one; the trials are the domains left out.

    Source: Bai et al. 2024 (SPG, arXiv 2404.19286), section 5.2; the selection rules are those of Gulrajani and
    Lopez-Paz 2021 (arXiv 2007.01434), section 3.
    """

    name: ClassVar[str] = "leave-one-domain-out"
    title: ClassVar[str] = "Domain generalisation, leave one domain out"
    layout: ClassVar[Layout] = Layout(order=4, heading="trial")

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of all domains but `trial`, and all images of that one."""
        data = only(sets, self.name)
        return self._trial(data, _others(data, trial), [trial], shots, seed)


@protocol
@dataclass(frozen=True, kw_only=True)
class SingleSource(DomainGeneralisation):
    """Single-source: train on one domain, test on each of the others and on their union; the trials are the sources.

    The union is pooled, so that large domains weigh more.
    Source: Bai et al. 2024 (SPG, arXiv 2404.19286), section 5.2, as in its released code.
    """

    name: ClassVar[str] = "single-source"
    title: ClassVar[str] = "Domain generalisation, single source"
    layout: ClassVar[Layout] = Layout(order=5, heading="trial", union=UNION)

    def draw(self, trial: str, sets: Mapping[str, ImageData], shots: int | str, seed: int) -> Trial:
        """Return shots of the domain `trial`, and all images of the others."""
        data = only(sets, self.name)
        return self._trial(data, [trial], _others(data, trial), shots, seed)


def _others(data: ImageData, domain: str) -> list[str]:
    return [name for name in data.domain_names if name != domain]
