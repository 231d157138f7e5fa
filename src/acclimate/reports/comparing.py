"""Several runs beside each other: their figures, and image by image on the test images that they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from acclimate.metrics import compare_hits, get_measure
from acclimate.telling.words import figure_text, verdict_sentence

if TYPE_CHECKING:
    from acclimate.reports.run_facts import RunFacts


def compare(runs: Sequence[RunFacts]) -> dict[str, Any] | None:
    """Return what the page says of several runs: their figures in a table, and each beside the first; none of one."""
    if len(runs) < 2:
        return None
    tests = {(run.task.name, name) for run in runs for name, _ in run.measured()}
    tables = []
    for task, test in sorted(tests):
        own = [run for run in runs if run.task.name == task and any(name == test for name, _ in run.measured())]
        metrics = {run.path: dict(run.measured())[test] for run in own}
        figures = [name for name in own[0].task.figures if figure_text(name, metrics[own[0].path])]
        rows = [
            {"name": str(run.path), "method": run.record["method"], "data": run.record["data"]["name"]}
            | {"cells": [figure_text(name, metrics[run.path]) for name in figures]}
            for run in own
        ]
        tables.append({"test": test, "head": [get_measure(name).title for name in figures], "rows": rows})
    lines = [line for other in runs[1:] if (line := _beside(runs[0], other))]
    return {"tables": tables, "lines": lines}


def _beside(first: RunFacts, other: RunFacts) -> str:
    """Return in a sentence how two runs stand to each other where both were measured on the same images."""
    if not first.task.exclusive or not other.task.exclusive:
        return ""
    own = {row["key"]: row for row in first.said("test")}
    shared = [(own[row["key"]], row) for row in other.said("test") if row["key"] in own]
    if not shared or any(row["label"] != same["label"] for row, same in shared):
        return f"{first.path} and {other.path} share no test images that both have kept."
    one, two = ([row["predicted"] == row["label"] for row in rows] for rows in zip(*shared, strict=True))
    found = compare_hits(one, two, [row["group"] for row, _ in shared])
    verdict = {"metric": "accuracy", "against": str(other.path), "others": 1, **found}
    return f"{verdict_sentence(str(first.path), verdict)} On {len(shared)} images that both were measured on."
