"""Tables of the figures of a method beside those of others, as plain values that a template shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from acclimate.telling.words import figure_text


class Measured(Protocol):
    """What knows which figures count: a task."""

    def shown(self, metrics: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the figures that were measured."""
        ...

    def note(self, metrics: Mapping[str, Any]) -> str:
        """Return what a reader must know of them."""
        ...


def figures_table(task: Measured, rows: Mapping[str, Mapping[str, Any]], own: str) -> dict[str, Any]:
    """Return a table of metrics with their intervals.

    Args:
        task: of the metrics.
        rows: metrics by the name of what was measured.
        own: the row that the table is about.

    Returns:
        `head`, the titles of the figures; `rows`, each with `name`, its `cells`, and whether it is its `own`; and the
        `note` below.
    """
    from acclimate.metrics import get_measure

    figures = task.shown(rows[own])
    cells = {name: [figure_text(figure, metrics) for figure in figures] for name, metrics in rows.items()}
    return {
        "head": [get_measure(name).title for name in figures],
        "rows": [{"name": name, "own": name == own, "cells": of} for name, of in cells.items()],
        "note": task.note(rows[own]),
    }
