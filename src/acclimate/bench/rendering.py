"""Rendering: tables and comparisons as Markdown, CSV, LaTeX and rows for a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from acclimate.bench.comparison import Comparison, Paired
from acclimate.bench.scores import to_csv
from acclimate.bench.tables import Cell, Table
from acclimate.metrics import Measure, get_measure

UNSERVED = "–"
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
    **{character: f"{{{character}}}" for character in "[]*"},  # after \\ they would be its arguments
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
COMPARED = ("method", "n", "wins", "ties", "losses", "mean difference", "median difference", "p", "p (Holm)")
Level = Literal["units", "runs"]
LEVELS: dict[Level, str] = {
    "units": "over data sets, trials and columns, averaged over seeds first",
    "runs": "over single runs, which are not independent within a data set, so that p is too small",
}


def show_cell(cell: Cell, measure: Measure) -> str:
    """Return a cell in words: "71.3 ± 1.2", "71.3 ± 1.2 (2 of 3)" with seeds missing, "–" where it cannot be served.

    It is empty where nothing was planned.
    """
    if not cell.served:
        return UNSERVED
    parts = []
    if cell.mean is not None:
        parts.append(measure.show(cell.mean))
    if cell.sd is not None:
        parts.append(f"± {measure.show(cell.sd)}")
    if cell.missing:
        parts.append(f"({cell.n} of {cell.expected})")
    return " ".join(parts)


def legend(table: Table, best: str) -> str:
    """Return what a reader must know of the figures; `best` says how the best cell is marked."""
    cells = [cell for row in table.rows for cell in row.cells]
    counts = sorted({cell.expected for cell in cells if cell.expected})
    least, most = counts[0], counts[-1]
    span = f"{least} to {most}" if least < most else f"{most}"
    parts = [f"mean ± sd over {span} seeds" if most > 1 else "one seed"]
    if any(cell.best for cell in cells):
        parts.append(f"best of each column {best}")
    if any(cell.missing for cell in cells):
        parts.append("(k of n): only k of n seeds have a result, not in the running for best")
    if not all(cell.served for cell in cells):
        parts.append(f"{UNSERVED}: the method cannot serve this column")
    return "; ".join(parts)


def terminal(table: Table) -> list[list[str]]:
    """Return the table as rows of plain strings, headings first; the best cells start with an asterisk."""
    return _rows(table, lambda text, best: f"* {text}" if best else text)


def markdown(table: Table) -> str:
    """Return the table as Markdown: title, rows with the best in bold, legend."""
    rows = _rows(table, lambda text, best: f"**{text}**" if best else text, _escape_markdown)
    note = _escape_markdown(legend(table, "in bold"))
    return f"**{_escape_markdown(table.title)}**\n\n{_markdown_rows(rows)}\n\n{note}\n"


def csv(table: Table) -> str:
    """Return the table as CSV, one row a method, with mean, sd and n for each column.

    Figures have full precision and the metric's own unit (shares, not percent). Without a figure mean and sd are empty.
    """
    heading = ["method", *(f"{column} {part}" for column in table.columns for part in ("mean", "sd", "n"))]
    rows = [
        [row.method, *(part for cell in row.cells for part in (_precise(cell.mean), _precise(cell.sd), cell.n))]
        for row in table.rows
    ]
    return to_csv([heading, *rows])


def latex(table: Table) -> str:
    """Return the table as LaTeX with `booktabs`: names escaped, the best in bold, title and legend as the caption."""
    rows = _rows(table, lambda text, best: rf"\textbf{{{text}}}" if best else text, _escape_latex)
    heading, *body = [" & ".join(row) + r" \\" for row in rows]
    caption = _escape_latex(f"{table.title}. {legend(table, 'in bold')}.")
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        heading,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def terminal_comparison(comparisons: Sequence[Comparison], level: Level = "units") -> list[list[str]]:
    """Return comparisons with one reference as rows of plain strings, headings first."""
    return [list(COMPARED), *([each.a, *_figures(getattr(each, level), each.metric)] for each in comparisons)]


def markdown_comparison(comparisons: Sequence[Comparison]) -> str:
    """Return comparisons with one reference as Markdown: over units, the ones to quote, then over runs.

    Reasons for missing p values stand below. Without comparisons the text is empty.
    """
    if not comparisons:
        return ""
    first = comparisons[0]
    measure = get_measure(first.metric)
    better = f"{measure.better} is better" + (f"; differences in {measure.unit}" if measure.unit else "")
    parts = [f"**{_escape_markdown(f'Against {first.b}: {measure.title}')}** ({better})"]
    for level, words in LEVELS.items():
        rows = [[_escape_markdown(text) for text in row] for row in terminal_comparison(comparisons, level)]
        parts += [f"{words.capitalize()}:", _markdown_rows(rows)]
        reasons = {getattr(each, level).reason for each in comparisons} - {""}
        parts += [_escape_markdown(f"No p: {reason}.") for reason in sorted(reasons)]
    return "\n\n".join(parts) + "\n"


def _rows(table: Table, mark: Callable[[str, bool], str], escape: Callable[[str], str] = str) -> list[list[str]]:
    heading = ["method", *table.columns]
    rows = [[row.method, *(show_cell(cell, table.measure) for cell in row.cells)] for row in table.rows]
    best = [[False, *(cell.best for cell in row.cells)] for row in table.rows]
    return [
        [escape(text) for text in heading],
        *(
            [mark(escape(text), flag) for text, flag in zip(row, flags, strict=True)]
            for row, flags in zip(rows, best, strict=True)
        ),
    ]


def _figures(paired: Paired, metric: str) -> list[str]:
    measure = get_measure(metric)
    differences = [UNSERVED if d is None else measure.show(d, "+") for d in (paired.mean, paired.median)]
    counts = [str(count) for count in (paired.n, paired.wins, paired.ties, paired.losses)]
    return [*counts, *differences, _show_p(paired.p), _show_p(paired.p_holm)]


def _show_p(p: float | None) -> str:
    if p is None:
        return UNSERVED
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _precise(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _markdown_rows(rows: Sequence[Sequence[str]]) -> str:
    heading, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([heading, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *body])


def _escape_markdown(text: str) -> str:
    line = " ".join(text.split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\`*|\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", line)  # a_b needs no escape


def _escape_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))
