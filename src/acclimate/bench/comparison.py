"""Paired comparison: is one method better than another, and how sure may one be?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from acclimate.bench.scores import Score, is_oracle, select_reported
from acclimate.counting import counted
from acclimate.errors import ConfigError
from acclimate.metrics import get_measure

FEWEST = 6
"""With 5 pairs even 5 wins have p = 2/2^5 = 0.0625; with 6, p = 2/2^6 = 0.03125."""
EXACT_UP_TO = 50
DECIMALS = 12  # differences are equal, or zero, up to this


@dataclass(frozen=True)
class Paired:
    """What the differences a - b between paired measurements say.

    Args:
        n: number of pairs.
        wins: pairs in which a is better: higher, or lower for ECE, NLL and costs.
        ties: pairs that are equal to 1e-12.
        losses: pairs in which b is better.
        mean: mean of a - b, in the metric's own unit (a share, not percent); None without pairs.
        median: median of a - b.
        p: two-sided p value of the signed-rank test, or None where there are too few pairs.
        reason: why there is no p value.
        p_holm: the p value corrected for the number of methods compared, where there was a list of them.
    """

    n: int
    wins: int
    ties: int
    losses: int
    mean: float | None
    median: float | None
    p: float | None
    reason: str = ""
    p_holm: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Method a against method b.

    Args:
        a: label of the method.
        b: label of what it is compared with.
        metric: the metric compared.
        units: each data set, trial and column once, averaged over seeds first: the one to quote.
        runs: each seed and setting as a pair of its own: more pairs, but not independent ones.
    """

    a: str
    b: str
    metric: str
    units: Paired
    runs: Paired


def compare(scores: Iterable[Score], a: str, b: str, metric: str = "accuracy") -> Comparison:
    """Compare two methods on everything that both have measured.

    Two scores make a pair if they agree in all but the method: protocol, selection rule, backbone, data set, trial,
    column, shots and seed. A pair with a value on one side only does not count. Nothing is counted twice:

    - base-to-novel counts with "base" and "novel"; the harmonic mean and "all classes" derive from the same images;
    - single-source counts with the union of its targets, "test", or with the single targets where it has no union;
    - cross-dataset counts with the targets; the source's own test images are what few-shot measures;
    - scores of an oracle never count, since a choice made with labels of the tested domain is no evidence.

    A signed-rank test takes its pairs for independent. The seeds of one data set are not: they share the test images,
    mostly the classes' difficulty and often training images, and the same holds for shots and backbones on one data
    set. Ten seeds of one data set say how sure the difference is *there*; they say nothing of the next data set, and as
    ten pairs would make a difference on a single data set "significant". So the differences are first averaged over
    all that was repeated on the same test images, which leaves one number for each (protocol, data set, trial,
    column): `units`. `runs` is the same over single runs, for completeness; its p value is too small. Even units of
    one data set, such as the held-out domains of PACS, have training images in common: p values are a guide here.

    Raises:
        ConfigError: a method without scores of this metric, or an unknown metric.
        RunError: two different values for the same measurement.
    """
    counted = _counted(scores, metric)
    _check_there(a, counted, metric)
    _check_there(b, counted, metric)
    return _compare(counted, a, b, metric)


def compare_all(
    scores: Iterable[Score], reference: str, metric: str = "accuracy", methods: Sequence[str] = ()
) -> list[Comparison]:
    """Compare every other method with `reference`: those in `methods` first, in their order, then by the alphabet.

    Twenty comparisons at p < 0.05 find one difference where there is none. Holm's correction (Scand. J. Statist. 6,
    1979) keeps the chance of any false finding in the list below the level: `p_holm`, over `units` and `runs` each for
    itself. Comparisons without a p value are no tests and do not count.

    Raises:
        ConfigError: the reference has no scores of this metric, or the metric is unknown.
        RunError: two different values for the same measurement.
    """
    counted = _counted(scores, metric)
    _check_there(reference, counted, metric)
    order = dict.fromkeys([*methods, *sorted(counted)])
    others = [name for name in order if name in counted and name != reference]
    found = [_compare(counted, name, reference, metric) for name in others]
    units = holm([each.units.p for each in found])
    runs = holm([each.runs.p for each in found])
    return [
        replace(each, units=replace(each.units, p_holm=unit), runs=replace(each.runs, p_holm=run))
        for each, unit, run in zip(found, units, runs, strict=True)
    ]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p values in the given order: the i-th smallest of m, times m - i + 1, never falling.

    None stays None and does not count in m.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    tests = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for done, (p, place) in enumerate(tests):
        largest = min(1.0, max(largest, (len(tests) - done) * p))
        adjusted[place] = largest
    return adjusted


def signed_rank_p(differences: Sequence[float]) -> float:
    """Return the two-sided p value of Wilcoxon's signed-rank test with Pratt's treatment of zeros.

    Pratt (J. Am. Stat. Assoc. 54, 1959) ranks zeros along with the others and then leaves their ranks out. Where zeros
    are dropped before the ranking, as Wilcoxon did, a larger difference in every pair can make a result less
    significant, and ties, which are evidence that two methods do not differ, count for nothing. Splitting the ranks of
    the zeros between the signs ("zsplit") shifts the statistic by a constant and gives the same exact p value.

    Up to 50 pairs the p value is exact, equal absolute differences and zeros included, which accuracies on the same
    few hundred images have often: each nonzero difference has its mid-rank with either sign at chance 1/2, and the
    chances of all rank sums follow by one convolution a rank. scipy's exact distribution knows neither ties nor
    zeros, and what it falls back to differs between its versions. Above 50 pairs scipy's normal approximation serves.

    Args:
        differences: at least one; what is zero or equal must be exactly so.
    """
    import numpy as np
    from scipy.stats import rankdata, wilcoxon

    d = np.asarray(differences, dtype=float)
    if not d.any():
        return 1.0
    if len(d) > EXACT_UP_TO:
        return float(wilcoxon(d, zero_method="pratt").pvalue)
    doubled = np.rint(2 * rankdata(np.abs(d))).astype(int)  # mid-ranks are halves
    chances = np.ones(1)  # of each sum of positive ranks
    for rank in doubled[d != 0]:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    observed = doubled[d > 0].sum()
    tail = min(chances[: observed + 1].sum(), chances[observed:].sum())
    return min(1.0, float(2 * tail))


def _counted(scores: Iterable[Score], metric: str) -> dict[str, dict[tuple, Score]]:
    """Return what takes part in comparisons: by method, then by all that makes a pair."""
    get_measure(metric)
    found: dict[str, dict[tuple, Score]] = {}
    for score in select_reported(score for score in scores if score.metric == metric):
        if not (is_oracle(score.selection) or score.derived or score.of_source):
            found.setdefault(score.method, {})[replace(score, method="").key] = score
    return found


def _check_there(method: str, counted: dict[str, dict[tuple, Score]], metric: str) -> None:
    if method not in counted:
        there = f"there is that of {', '.join(counted)}" if counted else "no method has one that counts"
        raise ConfigError(f"no {metric} of '{method}' to compare; {there}")


def _compare(counted: dict[str, dict[tuple, Score]], a: str, b: str, metric: str) -> Comparison:
    sign = 1 if get_measure(metric).better == "higher" else -1
    by_unit: dict[tuple[str, ...], list[float]] = {}
    for pair, ours in counted[a].items():
        theirs = counted[b].get(pair)
        if theirs is not None and ours.value is not None and theirs.value is not None:
            unit = (ours.protocol, ours.data, ours.trial, ours.column)
            by_unit.setdefault(unit, []).append(ours.value - theirs.value)
    runs = [difference for differences in by_unit.values() for difference in differences]
    units = [fmean(differences) for differences in by_unit.values()]
    return Comparison(a, b, metric, _judge(units, sign), _judge(runs, sign))


def _judge(differences: Sequence[float], sign: int) -> Paired:
    d = [round(difference, DECIMALS) for difference in differences]  # else 0.8 - 0.7 and 0.7 - 0.6 are no tie
    n, wins, losses = len(d), sum(sign * each > 0 for each in d), sum(sign * each < 0 for each in d)
    if not d:
        return Paired(0, 0, 0, 0, None, None, None, "no measurement has a value of both")
    p, reason = None, ""
    if n >= FEWEST:
        p = signed_rank_p(d)
    else:
        reason = f"{counted(n, 'pair')}: fewer than {FEWEST} cannot reach p < 0.05 (all won: p = {2 / 2**n:.2g})"
    return Paired(n, wins, n - wins - losses, losses, fmean(d), median(d), p, reason)
