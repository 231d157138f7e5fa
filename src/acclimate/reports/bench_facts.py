"""What a page says of a bench: its tables, and every method beside one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acclimate.bench.comparison import Comparison, compare_all
from acclimate.bench.rendering import legend, show_cell
from acclimate.bench.results import PAGE, SCORES
from acclimate.bench.scores import order_methods, read_scores
from acclimate.bench.tables import Table, make_tables
from acclimate.errors import ConfigError, RunError
from acclimate.metrics import MEASURES, get_measure

USUAL = ("linear-probe", "zero-shot")  # what others are compared with, where nothing else is asked for


def is_bench(path: Path) -> bool:
    """Return whether a folder is that of a bench."""
    return (path / SCORES).is_file()


def describe_bench(path: Path, metric: str | None = None, reference: str | None = None) -> dict[str, Any]:
    """Return what the page says of a bench.

    Args:
        path: its folder.
        metric: of the tables; by default the first that was measured, accuracy where it was.
        reference: the method that others are compared with; by default the linear probe, zero-shot, or the first.

    Raises:
        RunError: its scores are damaged, or there are none.
        ConfigError: there is no such metric or method.
    """
    scores = read_scores(path / SCORES)
    if not scores:
        raise RunError(f"{path}: this bench has no result yet; start its command again, and report on it then")
    there = [name for name in MEASURES if any(score.metric == name for score in scores)]
    if metric is not None and metric not in there:
        raise ConfigError(f"`metric={metric!r}`: {path} has {', '.join(there)}; name one of these")
    metric = metric or there[0]
    chosen = [score for score in scores if score.metric == metric]
    methods = order_methods(chosen)
    if reference is not None and reference not in methods:
        raise ConfigError(f"`against={reference!r}`: {path} has {', '.join(methods)}; name one of these")
    reference = reference or next((name for name in USUAL if name in methods), methods[0])
    page = path / PAGE
    title = page.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") if page.is_file() else ""
    return {
        "path": str(path),
        "title": title or path.name,
        "tables": [_table(table) for table in make_tables(chosen, methods)],
        "against": _against(compare_all(scores, reference, metric, methods), metric),
        "reference": reference,
        "measure": get_measure(metric).title,
        "others": [name for name in there if name != metric],
    }


def _table(table: Table) -> dict[str, Any]:
    rows = [
        {
            "name": row.method,
            "cells": [{"text": show_cell(cell, table.measure), "best": cell.best} for cell in row.cells],
        }
        for row in table.rows
    ]
    return {"title": table.title, "head": list(table.columns), "rows": rows, "legend": legend(table, "in bold")}


def _against(comparisons: list[Comparison], metric: str) -> list[dict[str, Any]]:
    """Return each method beside the reference, with the place of its mean difference on a common scale, -1 to 1."""
    measure = get_measure(metric)
    known = [each for each in comparisons if each.units.mean is not None]
    widest = max((abs(each.units.mean or 0.0) for each in known), default=0.0) or 1.0
    found = []
    for each in known:
        units, mean = each.units, each.units.mean or 0.0
        found.append(
            {
                "name": each.a,
                "mean": measure.show(mean, "+"),
                "place": mean / widest,
                "better": (mean > 0) == (measure.better == "higher"),
                "counts": f"{units.wins} / {units.ties} / {units.losses}",
                "p": f"{units.p_holm:.3g}" if units.p_holm is not None else "",
            }
        )
    return found
