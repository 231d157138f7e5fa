"""What a bench leaves behind: every figure as CSV, tables as Markdown, CSV and LaTeX, comparisons in pairs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePath

from acclimate.bench import rendering
from acclimate.bench.comparison import Comparison, compare_all
from acclimate.bench.running import Outcome
from acclimate.bench.scores import write_scores
from acclimate.bench.spec import Spec
from acclimate.bench.tables import Table, make_tables
from acclimate.errors import ConfigError
from acclimate.files import replace_file
from acclimate.metrics import MEASURES, get_measure
from acclimate.options import nearest

SCORES, PAGE, LATEX, TABLES = "results.csv", "results.md", "results.tex", "tables"
LONGEST = 200  # characters of a file name


def check_choice(spec: Spec, metric: str | None, reference: str | None) -> tuple[str, str | None]:
    """Return the metric of the main tables and the method to compare with: those asked for, else the spec's.

    Raises:
        ConfigError: nobody knows the metric, or no method has this label.
    """
    metric, reference = metric or spec.metric, reference or spec.reference
    get_measure(metric)
    if reference is not None and reference not in spec.labels:
        raise ConfigError(
            f"no method is labelled '{reference}'{nearest(reference, spec.labels)} (methods: {', '.join(spec.labels)})"
        )
    return metric, reference


def main_tables(spec: Spec, outcome: Outcome, metric: str) -> list[Table]:
    """Return the tables of one metric, with a row for every method that is planned there."""
    chosen = [score for score in outcome.scores if score.metric == metric]
    return make_tables(chosen, spec.labels, [job.run for job in outcome.jobs])


def comparisons(spec: Spec, outcome: Outcome, metric: str, reference: str | None) -> list[Comparison]:
    """Return every other method against the reference; nothing without one, or while it has no result that counts."""
    if reference is None:
        return []
    try:
        return compare_all(outcome.scores, reference, metric, spec.labels)
    except ConfigError:
        return []


def write_results(
    spec: Spec, outcome: Outcome, out: Path, metric: str | None = None, reference: str | None = None
) -> list[Path]:
    """Write the results of a bench into its folder and return the files.

    Args:
        spec: the bench.
        outcome: what it has given.
        out: its folder.
        metric: the one that stands first and in LaTeX; by default the spec's.
        reference: method that the others are compared with; by default the spec's, if it names one.

    Raises:
        RunError: a file cannot be written.
    """
    metric, reference = check_choice(spec, metric, reference)
    files = [out / SCORES, out / PAGE, out / LATEX]
    write_scores(files[0], outcome.scores)
    first = main_tables(spec, outcome, metric)
    replace_file(files[1], _page(spec, outcome, metric, reference).encode())
    replace_file(files[2], "\n".join(rendering.latex(table) for table in first).encode())
    if first:
        (out / TABLES).mkdir(exist_ok=True)
    for table, name in zip(first, _file_names(first), strict=True):
        files.append(out / TABLES / name)
        replace_file(files[-1], rendering.csv(table).encode())
    return files


def _page(spec: Spec, outcome: Outcome, metric: str, reference: str | None) -> str:
    parts = [f"## {spec.title}"]
    if not outcome.scores:
        return "\n\n".join([*parts, "No job is done yet.\n"])
    for name in (metric, *(other for other in MEASURES if other != metric)):
        parts += [rendering.markdown(table).strip() for table in main_tables(spec, outcome, name)]
        if name == metric:
            parts += [rendering.markdown_comparison(comparisons(spec, outcome, metric, reference)).strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def _file_names(tables: Sequence[Table]) -> list[str]:
    """Return a file name for each table, made of what tells it from others; of a backbone's folder, the last part."""
    names: list[str] = []
    for table in tables:
        backbone = PurePath(table.backbone).name
        words = (table.protocol, table.data, table.selection, backbone, table.shots, table.metric)
        name = "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-") for word in words if word)[:LONGEST]
        names.append(f"{name}.csv" if f"{name}.csv" not in names else f"{name}-{len(names)}.csv")
    return names
