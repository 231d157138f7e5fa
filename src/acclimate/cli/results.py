"""How the plan and the results of a bench look in a terminal, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.bench import outline, rendering
from acclimate.bench.results import comparisons, main_tables
from acclimate.cli.console import err, show_line, tell
from acclimate.cli.console import out as console
from acclimate.cli.layout import Sheet
from acclimate.cli.tables import print_json, show_figures
from acclimate.counting import counted
from acclimate.metrics import get_measure

if TYPE_CHECKING:
    from acclimate.bench import Job, Outcome, Spec


def show_plan(jobs: list[Job], out: Path, as_json: bool = False) -> None:
    """Show how many jobs there are and how many are done."""
    if as_json:
        names = ("hash", "label", "backbone", "content")
        print_json([{**{name: getattr(job, name) for name in names}, "done": job.is_done(out)} for job in jobs])
        return
    sheet = Sheet(["protocol, data, method", "jobs", "done"])
    keys = [(job.content["protocol"]["name"], job.data, job.label) for job in jobs]
    done = Counter(key for key, job in zip(keys, jobs, strict=True) if job.is_done(out))
    for key, count in Counter(keys).items():
        sheet.add(", ".join(key), str(count), str(done[key]))
    tell(console, f"{counted(len(jobs), 'job')} in {out}")
    show_figures(sheet)


def show_outline(spec: Spec, missing: Mapping[str, Path], as_json: bool = False) -> None:
    """Show the plan of a bench of which data are not there, and which they are."""
    rows = outline(spec)
    if as_json:
        plan = [{**asdict(row), "jobs": row.jobs} for row in rows]
        print_json({"missing": {name: str(path) for name, path in missing.items()}, "plan": plan})
        return
    sheet = Sheet(["protocol, data, method", "trials x shots x seeds", "jobs"])
    for row in rows:
        trials, jobs = ("?" if count is None else str(count) for count in (row.trials, row.jobs))
        sheet.add(f"{row.protocol}, {row.data}, {row.method}", f"{trials} x {row.shots} x {row.seeds}", jobs)
    known = counted(sum(row.jobs or 0 for row in rows), "job")
    if any(row.jobs is None for row in rows):
        known += ", and those marked ?, whose number only the data tell"
    several = f"; each of {len(spec.backbones)} backbones counts" if len(spec.backbones) > 1 else ""
    tell(console, f"{known}{several}")
    show_figures(sheet)
    for name, path in missing.items():
        tell(console, f"data.{name}: {path} is not there", "note")
    tell(console, "Put the data there, or name their folder with --data-root; the same command then checks the plan.")


def show_outcome(spec: Spec, outcome: Outcome, metric: str, reference: str | None, as_json: bool = False) -> None:
    """Show the tables of one metric and the comparison in pairs."""
    compared = comparisons(spec, outcome, metric, reference)
    if as_json:
        failed = [{"hash": job.hash, "job": job.describe(), "lines": list(lines)} for job, lines in outcome.failures]
        content = {"jobs": len(outcome.jobs), "failed": failed, "scores": [asdict(score) for score in outcome.scores]}
        print_json({**content, "comparisons": [asdict(each) for each in compared]})
        return
    for found in main_tables(spec, outcome, metric):
        _show(rendering.terminal(found), found.title, rendering.legend(found, "with *"))
    measure = get_measure(metric)
    if compared:
        notes = [f"{rendering.LEVELS['units']}; {measure.better} is better; p: Wilcoxon signed-rank, two-sided"]
        notes += [f"no p: {reason}" for reason in sorted({each.units.reason for each in compared} - {""})]
        _show(rendering.terminal_comparison(compared), f"Against {reference}: {measure.title}", "\n".join(notes))
    elif reference is not None:
        _note(f"'{reference}' has no {metric} that counts in comparisons, so there is none")


def show_failures(outcome: Outcome, out: Path) -> None:
    """Show which jobs failed, where they lie, and what they said last."""
    for job, lines in outcome.failures:
        tell(err, f"{job.describe()} ({job.folder(out)})", label="failed: ", label_style="error")
        for line in lines:
            show_line(err, f"    {line}")


def _show(rows: list[list[str]], title: str, note: str) -> None:
    """Show a table of results; it is never cut, however narrow the terminal."""
    console.print()
    tell(console, title, "best")
    sheet = Sheet(rows[0])
    for row in rows[1:]:
        sheet.add(*row)
    show_figures(sheet)
    _note(note)


def _note(text: str) -> None:
    for line in text.splitlines():
        tell(console, line, "note")
