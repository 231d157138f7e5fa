"""What the figures of a run mean, and what to do next with its best row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.cli.console import err, out, show_line, tell
from acclimate.cli.retelling import command
from acclimate.telling.words import expectation_sentence, verdict_sentence

if TYPE_CHECKING:
    from acclimate.tasks import Task


def show_verdict(method: str, metrics: Mapping[str, Any], verdict: Mapping[str, Any] | None, task: Task[Any]) -> None:
    """Say what the figures mean, and what is confused; records of earlier versions have no verdict."""
    told = [verdict_sentence(method, verdict)] if verdict else []
    confused = task.confusions(metrics)
    told += [f"Most often confused by {method}: {confused}."] if confused else []
    if told:
        out.print()
    for line in told:
        tell(out, line)


def show_expectation(record: Mapping[str, Any]) -> None:
    """Say what twice the labels would bring, where the record of a run has it."""
    if told := expectation_sentence(record):
        tell(out, told, "note")


def best_row(record: Mapping[str, Any], task: Task[Any]) -> str:
    """Return the name of the row with the best headline; the method itself where no other is ahead of it."""
    from acclimate.metrics import flat_values, get_measure

    own, sign = record["method"], 1 if get_measure(task.headline).better == "higher" else -1
    rows = {own: record["metrics"], **record["baselines"]}
    values = {name: sign * flat_values(metrics)[task.headline] for name, metrics in rows.items() if metrics}
    return max(values, key=lambda name: values[name], default=own)  # the first of equals, which is its own


def show_next_steps(
    run: Path, record: Mapping[str, Any], task: Task[Any], extra: list[str], again: Callable[[str], tuple[str, Path]]
) -> None:
    """Show what to do after a run, first of all with its best row.

    Args:
        run: its folder.
        record: its record.
        task: what it has learned.
        extra: options that every command on a run needs.
        again: gives the command that makes the adapter of another method, and its folder.
    """
    best = best_row(record, task) if record["metrics"] else record["method"]
    out.print()
    lines, place = [], run
    if best == record["method"]:
        tell(out, f"The adapter is in {run}. Next:")
    else:
        tell(out, f"The best row is {best}; the adapter of {record['method']} is in {run}. Next, with the best row:")
        line, place = again(best)
        lines.append(line)
    if task.use:
        only = ["--classes-of", next(iter(record["sets"]))] if record.get("sets") else []
        verb, *rest = task.use
        written = ("--out", task.writes) if task.writes else ()
        lines.append(command(verb, place, *rest, *only, *written, *extra))
    lines.append(command("evaluate", place, task.other_data, *extra))
    show_commands(*lines)


def show_next_to_labels(run: Path, extra: list[str], quiet: bool) -> None:
    """Say what tells how far labels may be trusted: some that were checked by hand."""
    if not quiet:
        tell(err, "Check some of the labels by hand, least probable first, and measure on what you checked:", "note")
        show_line(err, f"  {command('evaluate', run, 'CHECKED_IMAGES', *extra)}", "note")


def show_commands(*lines: str) -> None:
    """Print commands, each in one line that can be copied."""
    for line in lines:
        show_line(out, f"  {line}")
