from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import PermutationMethod, false_discovery_control, wilcoxon

from acclimate.bench.comparison import compare, compare_all, holm, signed_rank_p
from acclimate.errors import ConfigError, RunError
from tests.helpers.measured import score, seeds


def duel(differences, per_unit=1, **given):
    """Scores of methods a and b on as many data sets as there are rows, or one."""
    rows = [differences] if per_unit > 1 else [[each] for each in differences]
    return [
        made
        for number, row in enumerate(rows)
        for made in (
            *seeds([0.5 + each for each in row], method="a", data=f"data{number}", **given),
            *seeds([0.5] * len(row), method="b", data=f"data{number}", **given),
        )
    ]


# --- the test


@given(st.lists(st.integers(-9, 9), min_size=2, max_size=8).filter(any))
@settings(deadline=None, max_examples=25)
@pytest.mark.slow
def test_p_is_that_of_all_sign_flips_with_ties_and_zeros(differences):
    flips = PermutationMethod(n_resamples=2 ** len(differences))
    for zeros in ("pratt", "zsplit"):
        expected = wilcoxon(differences, zero_method=zeros, method=flips).pvalue
        assert signed_rank_p(differences) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n", [1, 5, 6, 17, 50])
def test_p_is_scipys_exact_one_without_ties(n):
    d = np.random.default_rng(n).normal(0.3, 1, n)
    assert signed_rank_p(d) == pytest.approx(wilcoxon(d, method="exact").pvalue, rel=1e-9)


def test_p_of_many_pairs_is_approximated_and_near_the_exact_one():
    d = np.random.default_rng(0).normal(0.2, 1, 51)
    assert signed_rank_p(d) == pytest.approx(wilcoxon(d, method="exact").pvalue, rel=0.05)


def test_p_by_hand():
    assert signed_rank_p([1, 2, 3, 4, 5, 6]) == 2 / 64
    assert signed_rank_p([1, 2, 3, 4, 5, -6]) == pytest.approx(2 * 14 / 64)  # 14 subsets of 1..6 sum to at most 6
    assert signed_rank_p([0, 0, 0]) == 1.0
    assert signed_rank_p([0.0, 0, 0, 0, 0, 1]) == 1.0  # one nonzero pair says nothing


def test_zeros_are_ranked_so_that_larger_differences_never_weaken_a_result():
    d = [0, 0, 0, 11, -7, -9, -8, -3, -7, 14, -10, 14]
    dropped, larger = [each for each in d if each], [each + 0.5 for each in d]
    assert signed_rank_p(larger) > signed_rank_p(dropped)  # Pratt's paradox where zeros are dropped
    rising = [0, 14, 8, 12, -6, 10, 8, 11, 10, 8, 4, 12, 7, 9]
    assert signed_rank_p([each + 0.5 for each in rising]) <= signed_rank_p(rising)


# --- pairs


def test_counts_differences_and_p_by_hand():
    found = compare(duel([0.1, 0.2, -0.1, 0.0, 0.3, 0.4, 0.05]), "a", "b").runs
    assert (found.n, found.wins, found.ties, found.losses) == (7, 5, 1, 1)
    assert found.mean == pytest.approx(0.95 / 7)
    assert found.median == pytest.approx(0.1)
    assert found.p == pytest.approx(signed_rank_p([10, 20, -10, 0, 30, 40, 5]))
    assert found.reason == ""


def test_ties_are_equal_to_rounding_only():
    found = compare(duel([1e-13, -1e-13, 1e-11]), "a", "b").runs
    assert (found.wins, found.ties, found.losses) == (1, 2, 0)


def test_rounding_does_not_break_equal_differences():
    values = [(0.8, 0.7), (0.7, 0.6), (0.3, 0.2), (0.4, 0.3), (0.2, 0.3), (0.6, 0.5), (0.9, 0.8)]
    scores = [
        score(value, method=name, data=str(number))
        for number, pair in enumerate(values)
        for name, value in zip("ab", pair, strict=True)
    ]
    assert compare(scores, "a", "b").runs.p == pytest.approx(signed_rank_p([1, 1, 1, 1, -1, 1, 1]))


def test_all_equal_pairs_are_no_difference():
    found = compare(duel([0.0] * 8), "a", "b").units
    assert (found.ties, found.mean, found.p) == (8, 0.0, 1.0)


def test_lower_wins_for_errors_and_the_difference_keeps_its_sign():
    for metric in ("ece", "nll", "seconds"):
        found = compare(duel([-0.1, -0.2, 0.1], metric=metric), "a", "b", metric).runs
        assert (found.wins, found.losses) == (2, 1)
        assert found.mean == pytest.approx(-0.2 / 3)


@given(st.lists(st.floats(-0.4, 0.4), min_size=1, max_size=12))
@settings(deadline=None, max_examples=40)
def test_turning_it_round_turns_the_signs(differences):
    there = compare(duel(differences), "a", "b").units
    back = compare(duel(differences), "b", "a").units
    assert (there.wins, there.ties, there.losses) == (back.losses, back.ties, back.wins)
    assert there.wins + there.ties + there.losses == there.n == len(differences)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p == (pytest.approx(back.p) if back.p is not None else None)


@pytest.mark.parametrize(("n", "least"), [(1, "1"), (4, "0.12"), (5, "0.062")])
def test_too_few_pairs_say_so(n, least):
    found = compare(duel([0.1] * n), "a", "b").units
    assert found.p is None
    assert found.reason == f"{n} pair{'s' * (n > 1)}: fewer than 6 cannot reach p < 0.05 (all won: p = {least})"
    assert compare(duel([0.1] * 6), "a", "b").units.p == 2 / 64


def test_only_pairs_with_both_values_count():
    scores = [
        *seeds([0.6, 0.7, None, 0.9], method="a"),
        *seeds([0.5, None, 0.5, 0.5], method="b"),
        score(0.9, method="b", shots="4"),
        score(0.9, method="b", backbone="other"),
    ]
    found = compare(scores, "a", "b").runs
    assert (found.n, found.wins) == (2, 2)
    none = compare([score(method="a"), score(method="b", seed=2)], "a", "b").runs
    assert (none.n, none.mean, none.p, none.reason) == (0, None, None, "no measurement has a value of both")


# --- units


def test_seeds_of_one_data_set_are_one_unit():
    found = compare(duel([0.1, 0.2, 0.3, -0.1, 0.2, 0.1, 0.1], per_unit=7), "a", "b")
    assert (found.runs.n, found.runs.wins, found.runs.losses) == (7, 6, 1)
    assert found.runs.p < 0.1
    assert (found.units.n, found.units.wins, found.units.losses, found.units.p) == (1, 1, 0, None)
    assert found.units.mean == pytest.approx(0.9 / 7)


def test_shots_backbones_and_rules_on_the_same_images_are_one_unit():
    scores = [
        score(0.5 + 0.1 * (method == "a"), method=method, shots=shots, backbone=backbone, selection=rule)
        for method in "ab"
        for shots in ("1", "16")
        for backbone in "xy"
        for rule in ("last-step", "training-domain-validation")
    ]
    found = compare(scores, "a", "b")
    assert (found.runs.n, found.units.n) == (8, 1)


def test_units_weigh_the_same_however_many_seeds_they_have():
    scores = [
        *seeds([0.6] * 3, method="a", data="x"),
        *seeds([0.5] * 3, method="b", data="x"),
        *seeds([0.4], method="a", data="y"),
        *seeds([0.5], method="b", data="y"),
    ]
    found = compare(scores, "a", "b")
    assert found.runs.mean == pytest.approx(0.05)
    assert found.units.mean == pytest.approx(0.0)
    assert (found.units.wins, found.units.losses) == (1, 1)


def counted(protocol, columns, **given):
    scores = [
        score(value, method=method, protocol=protocol, column=column, **given)
        for column in columns
        for method, value in (("a", 0.6), ("b", 0.5))
    ]
    return compare(scores, "a", "b").units.n


def test_nothing_is_counted_twice():
    assert counted("base-to-novel", ["base", "novel", "harmonic mean", "all classes"]) == 2
    assert counted("cross-dataset", ["test", "eurosat", "sar_acd"], data="aid") == 2
    assert counted("cross-dataset", ["aid", "eurosat", "sar_acd"], data="aid") == 2
    assert counted("single-source", ["test", "sketch", "photo"], data="pacs", trial="cartoon") == 1
    assert counted("single-source", ["sketch", "photo"], data="pacs", trial="cartoon") == 2
    assert counted("leave-one-domain-out", ["test"], data="pacs", trial="photo") == 1


def test_an_oracle_is_no_evidence():
    honest = duel([0.1, 0.1])
    found = compare(honest + duel([-0.3, -0.3], selection="oracle"), "a", "b")
    assert found == compare(honest, "a", "b")
    with pytest.raises(ConfigError, match="no method has one that counts"):
        compare(duel([0.1], selection="oracle"), "a", "b")


def test_unknown_names_are_refused():
    with pytest.raises(ConfigError, match=r"no accuracy of 'c' to compare; there is that of a, b"):
        compare(duel([0.1]), "c", "b")
    with pytest.raises(ConfigError, match=r"no accuracy of 'c'"):
        compare_all(duel([0.1]), "c")
    with pytest.raises(ConfigError, match="no metric 'bleu'"):
        compare(duel([0.1]), "a", "b", "bleu")
    with pytest.raises(RunError, match="two values"):
        compare([*duel([0.1]), score(0.9, method="a", data="data0")], "a", "b")


# --- many methods


@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm_is_the_stepwise_definition(p_values):
    adjusted = holm(p_values)
    there = [p for p in p_values if p is not None]
    assert [p is None for p in p_values] == [p is None for p in adjusted]
    for p, found in zip(p_values, adjusted, strict=True):
        if p is not None:  # the largest of m - i + 1 times the i-th smallest, over all that are no larger
            steps = [(len(there) - rank) * each for rank, each in enumerate(sorted(there)) if each <= p]
            assert found == pytest.approx(min(1.0, max(steps)))
            assert p <= found + 1e-12 <= min(1.0, len(there) * p) + 2e-12


def test_holm_by_hand_and_beside_a_weaker_correction():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([]) == []
    p = [0.001, 0.2, 0.03, 0.8]
    assert all(ours >= theirs for ours, theirs in zip(holm(p), false_discovery_control(p), strict=True))


def test_all_others_are_compared_in_a_stable_order_with_holm():
    gains = {"c": [0.1] * 6, "a": [0.1] * 5 + [-0.2], "few": [0.1] * 2}
    scores = [score(0.5, method="zero-shot", data=str(number)) for number in range(6)]
    scores += [
        score(0.5 + gain, method=name, data=str(number))
        for name, row in gains.items()
        for number, gain in enumerate(row)
    ]
    found = compare_all(scores, "zero-shot")
    assert [each.a for each in found] == ["a", "c", "few"]
    assert {each.b for each in found} == {"zero-shot"}
    ordered = compare_all(scores[::-1], "zero-shot", methods=["few", "zero-shot", "absent", "c"])
    assert [each.a for each in ordered] == ["few", "c", "a"]
    assert {each.a: each for each in ordered} == {each.a: each for each in found}
    a, c, few = (each.units for each in found)
    assert c.p == 2 / 64
    assert c.p_holm == pytest.approx(2 * c.p)
    assert a.p_holm == pytest.approx(a.p)
    assert (few.p, few.p_holm) == (None, None)


def test_a_lone_method_has_nothing_to_be_compared_with():
    assert compare_all([score(method="zero-shot")], "zero-shot") == []
