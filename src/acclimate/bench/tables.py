"""Tables: scores laid out as methods by columns, with mean and standard deviation over seeds. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean, stdev

from acclimate.bench.scores import (
    Run,
    Score,
    is_oracle,
    layout_of,
    order_methods,
    rank,
    rank_selection,
    rank_shots,
    select_reported,
)
from acclimate.counting import counted
from acclimate.metrics import MEASURES, Measure, get_measure

MEAN = "mean"
TOLERANCE = 1e-12
Key = tuple[str, str, str]  # data, trial and column of a score


@dataclass(frozen=True)
class Cell:
    """One method in one column.

    Args:
        values: the number by seed, for the seeds that have one.
        expected: how many seeds there should be; 0 where nothing was planned.
        served: false where the method cannot serve this column, such as a probe on novel classes.
        best: whether it is marked as the best of its column.
    """

    values: Mapping[int, float]
    expected: int
    served: bool = True
    best: bool = False

    @property
    def n(self) -> int:
        """Number of seeds with a value."""
        return len(self.values)

    @property
    def missing(self) -> int:
        """Number of seeds whose job failed or is still to run."""
        return self.expected - self.n if self.served else 0

    @property
    def mean(self) -> float | None:
        """Mean over the seeds."""
        return fmean(self.values.values()) if self.values else None

    @property
    def sd(self) -> float | None:
        """Standard deviation of a sample (n - 1), or None for fewer than two seeds."""
        return stdev(self.values.values()) if self.n > 1 else None


@dataclass(frozen=True)
class Row:
    """One method, with a cell for each column."""

    method: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """One metric of all methods under one protocol, selection rule, backbone and number of shots.

    `data` is empty where the columns come from several data sets (few-shot, cross-dataset).
    """

    protocol: str
    selection: str
    backbone: str
    shots: str
    metric: str
    data: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def measure(self) -> Measure:
        """How the metric is shown."""
        return get_measure(self.metric)

    @property
    def title(self) -> str:
        """What the table shows, in one line; an oracle is called an ORACLE."""
        where = f" on {self.data}" if self.data else ""
        rule = "ORACLE, which sees labels of the tested domain" if is_oracle(self.selection) else self.selection
        return (
            f"{self.protocol}{where}, {describe_shots(self.shots)}, {self.backbone}, selection: {rule}: "
            f"{self.measure.title}"
        )


def describe_shots(shots: str) -> str:
    """Return a number of shots in words."""
    kind, _, number = shots.rpartition(":")
    if kind == "budget":
        return f"a budget of {counted(int(number), 'image')}"
    if shots.isdecimal():
        return counted(int(shots), "shot")
    return f"{shots} images"


def make_tables(
    scores: Iterable[Score], methods: Sequence[str] = (), planned: Iterable[Run] | None = None
) -> list[Table]:
    """Lay scores out as tables, one per protocol, selection, backbone, shots and metric.

    Few-shot and cross-dataset have all data sets in one table; every other protocol has one table per data set. The
    columns are whatever of (data, trial, column) varies in the table: data sets in few-shot, base and novel in
    base-to-novel, targets in cross-dataset, domains in leave-one-domain-out and single-source. Two or more columns get
    a "mean" beside them, except in base-to-novel. A seed has a mean only if it has a value in each column; the mean is
    shown over these seeds. The source's own test images in cross-dataset stand first and outside the mean. Where
    single-source has "test", the union of the other domains, its single targets are left out.

    The best cell of a column is marked (several only if they are equal), among at least two methods, for all metrics
    but costs. Cells with missing seeds do not compete, since their mean is over other runs. The order of `scores` does
    not matter.

    Args:
        scores: of any protocols and metrics.
        methods: labels in the order of the rows; others follow by the alphabet.
        planned: all runs that there should be, to tell what is missing: a method has a row where something of it is
            planned or there, and each cell its own seeds. By default each of `methods`, and each seed that occurs in a
            table, is expected all over it.

    Raises:
        ConfigError: an unknown metric.
        RunError: two different values for the same measurement.
    """
    runs = None if planned is None else set(planned)
    groups = groupby(sorted(select_reported(scores), key=_rank_table), key=_rank_table)
    return [_make_table(list(group), methods, runs) for _, group in groups]


def _rank_table(score: Score) -> tuple:
    layout = layout_of(score.protocol)
    return (
        (layout.order, score.protocol),
        "" if layout.joint else score.data,
        score.backbone,
        rank_shots(score.shots),
        rank_selection(score.selection),
        rank(score.metric, MEASURES),
    )


def _make_table(scores: list[Score], methods: Sequence[str], planned: set[Run] | None) -> Table:
    first, layout = scores[0], layout_of(scores[0].protocol)
    labelled = _label_columns(scores)
    counted = [place for place, (score, _) in enumerate(labelled) if not score.of_source]
    with_mean = len(counted) > 1 and layout.mean
    found: dict[tuple[str, Key], dict[int, float | None]] = {}
    for score in scores:
        found.setdefault((score.method, _key(score)), {})[score.seed] = score.value
    seeds = _expected_seeds(scores, planned)
    rows = []
    for method in order_methods(scores, methods):
        places = [(method, _key(score)) for score, _ in labelled]
        wanted = [seeds(*place) | found.get(place, {}).keys() for place in places]
        if not any(wanted):
            continue
        cells = [_make_cell(found.get(place, {}), len(each)) for place, each in zip(places, wanted, strict=True)]
        if with_mean:
            common = set.intersection(*(wanted[place] for place in counted))
            cells.append(_average([cells[place] for place in counted], common))
        rows.append(Row(method, tuple(cells)))
    data = "" if layout.joint else first.data
    columns = tuple(label for _, label in labelled) + ((MEAN,) if with_mean else ())
    marked = _mark_best(rows, get_measure(first.metric))
    return Table(first.protocol, first.selection, first.backbone, first.shots, first.metric, data, columns, marked)


def _expected_seeds(scores: list[Score], planned: set[Run] | None) -> Callable[[str, Key], set[int]]:
    """Return what tells the seeds that a method should have in a column."""
    if planned is None:
        everywhere = {score.seed for score in scores}
        return lambda method, key: everywhere
    settings = {(score.protocol, score.selection, score.backbone, score.shots) for score in scores}
    seeds: dict[tuple[str, str, str], set[int]] = {}
    for run in planned:
        if (run.protocol, run.selection, run.backbone, run.shots) in settings:
            seeds.setdefault((run.method, run.data, run.trial), set()).add(run.seed)
    return lambda method, key: seeds.get((method, key[0], key[1]), set())


def _key(score: Score) -> Key:
    return (score.data, score.trial, score.column)


def _label_columns(scores: list[Score]) -> list[tuple[Score, str]]:
    """Return a score of each column, in their order, with a name made of what varies between them."""
    layout, some = layout_of(scores[0].protocol), {_key(score): score for score in scores}
    axes = ("data", "trial", "column")
    varied = [axis for axis in axes if len({getattr(score, axis) for score in scores}) > 1]
    shown = varied or [layout.heading]

    def label(score: Score) -> str:
        if score.of_source:
            return f"{score.data} (source)"
        return " / ".join(dict.fromkeys(getattr(score, axis) for axis in shown))  # a name that repeats itself: once

    def order(score: Score) -> tuple:
        return (not score.of_source, score.data, score.trial, rank(score.column, layout.columns))

    return [(score, label(score)) for score in sorted(some.values(), key=order)]


def _make_cell(values: Mapping[int, float | None], expected: int) -> Cell:
    there = {seed: value for seed, value in sorted(values.items()) if value is not None}
    return Cell(there, expected, served=bool(there) or not values)


def _average(cells: Sequence[Cell], seeds: set[int]) -> Cell:
    complete = [seed for seed in sorted(seeds) if all(seed in cell.values for cell in cells)]
    values = {seed: fmean(cell.values[seed] for cell in cells) for seed in complete}
    return Cell(values, len(seeds), served=all(cell.served for cell in cells))


def _mark_best(rows: list[Row], measure: Measure) -> tuple[Row, ...]:
    if measure.is_cost:
        return tuple(rows)
    sign = 1 if measure.better == "higher" else -1
    columns = []
    for cells in zip(*(row.cells for row in rows), strict=True):
        merits = [float("-inf") if cell.mean is None or cell.missing else sign * cell.mean for cell in cells]
        second, first = sorted([float("-inf"), *merits])[-2:]
        rivals = second > float("-inf")
        columns.append(
            [
                replace(cell, best=rivals and merit >= first - TOLERANCE)
                for cell, merit in zip(cells, merits, strict=True)
            ]
        )
    return tuple(Row(row.method, cells) for row, cells in zip(rows, zip(*columns, strict=True), strict=True))
