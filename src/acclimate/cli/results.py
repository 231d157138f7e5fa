"""How the plan and the results of a bench look in a terminal, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from acclimate.bench import rendering
from acclimate.bench.results import comparisons, main_tables
from acclimate.cli.console import out as console
from acclimate.cli.tables import print_json, table

if TYPE_CHECKING:
    from acclimate.bench import Job, Outcome, Spec


def show_plan(jobs: list[Job], out: Path, as_json: bool = False) -> None:
    """Show how many jobs there are and how many are done."""
    if as_json:
        print_json([{"hash": job.hash, "label": job.label, "done": job.is_done(out), **job.content} for job in jobs])
        return
    shown = table("protocol", "data", "method", "jobs", "done", title=f"{len(jobs)} jobs in {escape(str(out))}")
    keys = [(job.content["protocol"]["name"], job.data, job.label) for job in jobs]
    done = Counter(key for key, job in zip(keys, jobs, strict=True) if job.is_done(out))
    for key, count in Counter(keys).items():
        shown.add_row(*map(escape, key), str(count), str(done[key]))
    console.print(shown)


def show_outcome(spec: Spec, outcome: Outcome, metric: str, reference: str | None, as_json: bool = False) -> None:
    """Show the tables of one metric and the comparison in pairs."""
    if as_json:
        failed = [{"hash": job.hash, "job": job.describe(), "lines": list(lines)} for job, lines in outcome.failures]
        print_json({"jobs": len(outcome.jobs), "failed": failed, "scores": [asdict(score) for score in outcome.scores]})
        return
    for found in main_tables(spec, outcome, metric):
        _show(rendering.terminal(found), found.title, rendering.legend(found, "with *"))
    compared = comparisons(spec, outcome, metric, reference)
    if compared:
        note = "over data sets, trials and columns, averaged over seeds first; p: Wilcoxon signed-rank, two-sided"
        _show(rendering.terminal_comparison(compared), f"Against {reference}, {metric.replace('_', ' ')}", note)


def _show(rows: list[list[str]], title: str, note: str) -> None:
    heading, *body = rows
    shown = table(*map(escape, heading))
    for row in body:
        shown.add_row(*map(escape, row))
    console.print(f"\n[best]{escape(title)}[/]", soft_wrap=True)
    console.print(shown)
    console.print(f"[note]{escape(note)}[/]", soft_wrap=True)
