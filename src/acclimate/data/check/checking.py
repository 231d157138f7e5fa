"""`check_data`: every check in one pass over the images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from acclimate.data.check.classes import find_class_problems
from acclimate.data.check.corrupt import find_corrupt
from acclimate.data.check.duplicates import find_duplicates
from acclimate.data.check.facts import read_facts
from acclimate.data.check.report import CheckReport
from acclimate.data.check.shortcuts import find_shortcuts
from acclimate.data.dataset import ImageData
from acclimate.data.load import load_data

if TYPE_CHECKING:
    import datasets

_RANKS = {"error": 0, "warning": 1, "info": 2}


def check_data(
    data: str | os.PathLike[str] | datasets.Dataset | datasets.DatasetDict | ImageData,
    *,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> CheckReport:
    """Look at every image and label, and report what would spoil training or its figures.

    Corrupt files; exact and near duplicates, across splits and with different labels; file properties that betray the
    label; classes that are tiny, uneven, misspelt or missing from a split or domain. A split that the source gives is
    checked as it is, else the one that `load_data` makes. Every image is decoded once, by several threads.

    Args:
        data: anything that `load_data` takes.
        progress: called with (done, total) now and then while images are read.
        options: options of `load_data`.

    Raises:
        DataError: the source cannot be loaded at all.
    """
    loaded = load_data(data, **options)
    facts, reasons = read_facts(loaded, progress)
    shortcuts, statistics = find_shortcuts(loaded, facts)
    findings = [
        *find_corrupt(loaded, facts, reasons),
        *find_duplicates(loaded, facts),
        *find_class_problems(loaded),
        *shortcuts,
    ]
    splits = Counter(loaded.splits)
    return CheckReport(
        name=loaded.name,
        pictures=len(loaded),
        classes=loaded.counts(),
        splits={split: splits[split] for split in ("train", "val", "test")},
        split_origin=loaded.split_origin,
        domains={domain: count for domain, count in sorted(Counter(loaded.domains).items()) if domain},
        statistics=statistics,
        findings=tuple(sorted(findings, key=lambda finding: _RANKS[finding.level])),
    )
