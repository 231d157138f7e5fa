"""Scores: every number that a benchmark has measured, one a row, and the file that keeps them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from csv import QUOTE_ALL, reader, writer
from csv import Error as CsvError
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from acclimate.errors import RunError
from acclimate.files import replace_file
from acclimate.metrics import MEASURES, get_measure
from acclimate.spreadsheets import as_text, from_text

if TYPE_CHECKING:
    from acclimate.protocols import Layout, SelectionRule

RUN = "run"
"""Column of a cost, which a run has once, however many test sets it has."""


class Run(NamedTuple):
    """One training run, as the scores of its tests name it."""

    protocol: str
    selection: str
    backbone: str
    data: str
    trial: str
    method: str
    shots: str
    seed: int


@dataclass(frozen=True)
class Score:
    """One measured number and everything that says what it measures.

    Args:
        protocol: its name.
        selection: the rule that chose the step.
        backbone: its id.
        data: the data set that trains.
        trial: what the protocol repeats over: the data set itself, the held-out domain, or the only source domain.
        column: which of the trial's measurements: "test", "base", "novel", "harmonic mean", "all classes", or the name
            of a target. In single-source, "test" is the union of the other domains; in cross-dataset, "test" or the
            trial's own name is the test images of the source. The column of a cost does not matter.
        method: its label.
        shots: "16", "all" or "budget:64".
        seed: of the run.
        metric: the name of its measure.
        value: the number, a share and not percent; None where the method cannot serve this column.

    Raises:
        RunError: the value is not finite.
    """

    protocol: str
    selection: str
    backbone: str
    data: str
    trial: str
    column: str
    method: str
    shots: str
    seed: int
    metric: str
    value: float | None

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise RunError(
                f"{self.metric} of {self.method} on {self.data}, seed {self.seed}, is {self.value}; "
                "a score is a finite number: look at the run's log.jsonl and run it again"
            )

    @property
    def key(self) -> tuple[str | int, ...]:
        """Everything but the value."""
        return tuple(vars(self).values())[:-1]  # `astuple` would copy each

    @property
    def run(self) -> Run:
        """The run that it comes from."""
        return Run(*(getattr(self, name) for name in Run._fields))

    @property
    def of_source(self) -> bool:
        """Whether it measures the source's own test images where only targets count, as in cross-dataset."""
        own = self.trial == self.data and self.column in ("test", self.data)
        return own and layout_of(self.protocol).source_apart

    @property
    def derived(self) -> bool:
        """Whether it sums up other columns of the same trial."""
        return self.column in layout_of(self.protocol).derived


def layout_of(protocol: str) -> Layout:
    """Return how tables of a protocol look; scores are plain data, which need no data sets until they are laid out."""
    from acclimate.protocols import get_layout

    return get_layout(protocol)


def is_oracle(selection: str) -> bool:
    """Return whether a rule looks at labels of what is tested: no evidence, and always called an oracle."""
    rule = _rules().get(selection)
    return rule is not None and rule.target


def _rules() -> Mapping[str, SelectionRule]:
    from acclimate.protocols import SELECTION_RULES

    return SELECTION_RULES


def rank(name: str, known: Iterable[str]) -> tuple[int, str]:
    """Return a sort key: known names first, in their order, then the others by the alphabet."""
    order = list(known)
    return (order.index(name) if name in order else len(order), name)


def rank_shots(shots: str) -> tuple[int, int, str]:
    """Return a sort key: numbers of shots, then budgets, then "all"; "4" comes before "16"."""
    kind, _, number = shots.rpartition(":")
    if number.isdecimal():
        return (1 if kind else 0, int(number), shots)
    return (2, 0, shots)


def rank_selection(name: str) -> tuple[int, str]:
    """Return a sort key: the rules in the order in which they are listed, then others by the alphabet."""
    return rank(name, _rules())


def rank_score(score: Score) -> tuple:
    """Return the key by which scores are sorted; no two different scores share it."""
    layout = layout_of(score.protocol)
    return (
        (layout.order, score.protocol),
        score.data,
        score.trial,
        rank(score.column, layout.columns),
        score.backbone,
        rank_shots(score.shots),
        rank_selection(score.selection),
        rank(score.metric, MEASURES),
        score.method,
        score.seed,
    )


def tidy(scores: Iterable[Score]) -> list[Score]:
    """Return the scores sorted and each once, so that the order in which jobs finish changes nothing.

    Raises:
        RunError: two different values stand for the same measurement.
    """
    known: dict[tuple, Score] = {}
    for score in scores:
        other = known.setdefault(score.key, score)
        if other.value != score.value:
            what = ", ".join(map(str, score.key))
            raise RunError(f"two values, {other.value} and {score.value}, for ({what}); give each method its own label")
    return sorted(known.values(), key=rank_score)


def select_reported(scores: Iterable[Score]) -> list[Score]:
    """Return the scores that a protocol reports, sorted: those of tables and comparisons.

    Costs stand in a column "run". The single targets of single-source are left out where their union is there.

    Raises:
        ConfigError: an unknown metric.
        RunError: two different values stand for the same measurement.
    """
    found = tidy(replace(score, column=RUN) if get_measure(score.metric).is_cost else score for score in scores)
    united = {score.run for score in found if score.column == layout_of(score.protocol).union}
    return [s for s in found if s.run not in united or s.column in (layout_of(s.protocol).union, RUN)]


def order_methods(scores: Iterable[Score], methods: Sequence[str] = ()) -> list[str]:
    """Return `methods`, then whoever else has scores, by the alphabet."""
    return list(dict.fromkeys([*methods, *sorted({score.method for score in scores})]))


HEADER = [field.name for field in fields(Score)]


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write scores as CSV, sorted, in full precision, and whole or not at all; an empty value means "cannot serve".

    Raises:
        RunError: two values for one measurement, or the file cannot be written.
    """
    rows = [[*score.key, "" if score.value is None else repr(float(score.value))] for score in tidy(scores)]
    replace_file(path, to_csv([HEADER, *rows]).encode())


def to_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV with plain line ends, in which no spreadsheet finds a formula."""
    text = io.StringIO(newline="")
    usual, quoting = writer(text, lineterminator="\n"), writer(text, lineterminator="\n", quoting=QUOTE_ALL)
    for row in rows:
        cells = [as_text(each) if isinstance(each, str) else each for each in row]
        # Python before 3.13 would not quote \r, and in some countries spreadsheets divide cells at semicolons.
        strange = any(mark in str(each) for each in cells for mark in "\r;\t")
        (quoting if strange else usual).writerow(cells)
    return text.getvalue()


def read_scores(path: Path) -> list[Score]:
    """Read what `write_scores` wrote, sorted.

    Raises:
        RunError: the file is missing or damaged.
    """
    again = "run `acclimate bench` again, it writes this file anew from its finished jobs"
    try:
        rows = list(reader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; {again}") from None
    except (CsvError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: not a table of scores ({error}); {again}") from None
    if not rows or rows[0] != HEADER:
        raise RunError(f"{path} row 1: expected the columns {','.join(HEADER)}; {again}")
    scores = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(HEADER):
            raise RunError(f"{path} row {number}: {len(row)} columns instead of {len(HEADER)}; {again}")
        protocol, selection, backbone, data, trial, column, method, shots, seed, metric, value = map(from_text, row)
        what = (protocol, selection, backbone, data, trial, column, method, shots)
        try:
            scores.append(Score(*what, int(seed), metric, float(value) if value else None))
        except (ValueError, RunError):
            raise RunError(f"{path} row {number}: seed '{seed}' or value '{value}' is not a number; {again}") from None
    return tidy(scores)
