"""What a check found, as data; drawing it is the command line's business."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "info"]

EXAMPLES = 50
"""How many examples a finding keeps; its `count` is of all."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: "error" (training on this is wrong or impossible), "warning" (look at it), "info" (good to know).
        kind: a short, stable name, such as "corrupt" or "duplicate_across_splits".
        message: one line: what, how much, and what to do.
        count: how many images, pairs, classes or files are concerned.
        examples: some of them, each a tuple of keys, class names or files: one; two for a pair; for a corrupt file its
            key and the reason.
    """

    level: Level
    kind: str
    message: str
    count: int = 0
    examples: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """The result of `check_data`.

    Attributes:
        name: the data that were checked.
        pictures: how many images there are, corrupt ones included.
        classes: images per class, zero included.
        splits: images per split.
        split_origin: "given" by the source, or "made".
        domains: images per domain, "" left out.
        statistics: for each measured property (such as "width" or "brightness") its median and range, and the share of
            the label's entropy that it explains.
        findings: errors first, then warnings, then the rest.
    """

    name: str
    pictures: int
    classes: dict[str, int]
    splits: dict[str, int]
    split_origin: str
    domains: dict[str, int]
    statistics: dict[str, dict[str, float | str]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.count("error")

    def count(self, level: Level) -> int:
        """Return how many findings have this level."""
        return sum(finding.level == level for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data that JSON can hold."""
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings], "ok": self.ok}


def listed(items: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return single names as the examples of a finding."""
    return tuple((item,) for item in items[:EXAMPLES])
