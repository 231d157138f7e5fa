from __future__ import annotations

import logging
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acclimate.data import parse_shots, sample_shots
from acclimate.errors import ConfigError
from tests.helpers.rows import Row, data_of, rows_of_anything, simple


@settings(max_examples=40, deadline=None)
@given(rows_of_anything, st.integers(0, 5), st.integers(1, 8))
def test_shots_are_nested_and_spread_over_groups(rows: list[Row], seed: int, shots: int) -> None:
    data = data_of(rows)
    few, more = sample_shots(data, shots, seed), sample_shots(data, shots + 3, seed)
    assert set(few.keys) <= set(more.keys)
    assert few.keys == sorted(few.keys)
    for name, available in data.counts().items():
        assert few.counts()[name] == min(shots, available)
        members = [group or key for key, label, _, group in rows if label == name]
        drawn_rows = zip(few.keys, few.label_names, few.groups, strict=True)
        drawn = Counter(group or key for key, label, group in drawn_rows if label == name)
        if len(set(members)) >= shots:
            assert set(drawn.values()) <= {1}


def test_shots_all_and_more_than_there_are(caplog: pytest.LogCaptureFixture) -> None:
    data = data_of([(f"a{n}", "a", "", "") for n in range(3)] + [(f"b{n}", "b", "", "") for n in range(9)])
    assert sample_shots(data, "all", 0).keys == sorted(data.keys)
    with caplog.at_level(logging.INFO, "acclimate.data"):
        assert sample_shots(data, 5, 0).counts() == {"a": 3, "b": 5}
    assert len(sample_shots(data, np.int64(2), 0)) == 4
    assert "a (3)" in caplog.text
    assert "b (" not in caplog.text


def test_seeds_draw_different_shots() -> None:
    data = simple(20)
    assert len({tuple(sample_shots(data, 4, seed).keys) for seed in range(5)}) == 5


@pytest.mark.parametrize("shots", [0, -1, 2.5, True, "some", None])
def test_shots_out_of_range(shots: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"`shots={shots!r}`: give a whole number from 1")):
        sample_shots(simple(4), shots, 0)


@pytest.mark.parametrize(
    ("text", "shots"),
    [
        (1, 1),
        ("16", 16),
        (" 4 ", 4),
        (np.int64(8), 8),
        ("all", "all"),
        ("budget:64", "budget:64"),
        ("budget: 064", "budget:64"),
    ],
)
def test_shots_are_written_in_one_way(text: object, shots: int | str) -> None:
    assert parse_shots(text) == shots
    assert parse_shots(parse_shots(text)) == shots


@pytest.mark.parametrize(
    "text", ["0", "-1", "budget:0", "budget:", "budget:x", "64:budget", "", "1.0", "²", {"budget": 4}]
)
def test_what_is_no_number_of_shots(text: object) -> None:
    with pytest.raises(ConfigError, match=r"give a whole number from 1 .*, 'all', or 'budget:64' for 64 images in all"):
        parse_shots(text)


# ---------------------------------------------------------------- budgets


@settings(max_examples=40, deadline=None)
@given(rows_of_anything, st.integers(0, 5), st.integers(1, 40), st.integers(0, 30))
def test_budgets_are_exact_nested_and_spread_over_groups(rows: list[Row], seed: int, budget: int, more: int) -> None:
    data = data_of(rows)
    small, large = (sample_shots(data, f"budget:{size}", seed) for size in (budget, budget + more))
    assert len(small) == min(budget, len(data))
    assert set(small.keys) <= set(large.keys)
    assert small.keys == sorted(small.keys)
    assert small.class_names == data.class_names
    drawn = Counter(group or key for key, group in zip(small.keys, small.groups, strict=True))
    assert max(drawn.values()) == 1 or len(drawn) == len({group or key for key, _, _, group in rows})


@settings(max_examples=20, deadline=None)
@given(rows_of_anything, st.integers(0, 5), st.randoms())
def test_a_budget_does_not_depend_on_the_order_of_the_rows(rows: list[Row], seed: int, random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    first, second = (sample_shots(data_of(order), "budget:9", seed) for order in (rows, shuffled))
    assert first.keys == second.keys


@pytest.mark.parametrize("group_size", [1, 4])
def test_a_budget_has_the_imbalance_of_the_pictures(group_size: int) -> None:
    """Although one class is of many small groups, and the other of few large ones."""
    rows = [(f"a{n:03}", "a", "", f"a{n}") for n in range(240)]
    rows += [(f"b{n:03}", "b", "", f"b{n // group_size}") for n in range(80)]
    data = data_of(rows)
    shares = [Fraction(sample_shots(data, "budget:16", seed).counts()["b"], 16) for seed in range(60)]
    assert float(sum(shares) / len(shares)) == pytest.approx(0.25, abs=0.03)
    assert len(set(shares)) > 3  # drawn, not allotted


def test_a_budget_says_which_classes_it_misses(caplog: pytest.LogCaptureFixture) -> None:
    data = data_of([(f"a{n:03}", "a", "", "") for n in range(200)] + [("b", "rare", "", "")])
    with caplog.at_level(logging.INFO, "acclimate.data"):
        assert sample_shots(data, "budget:3", 0).counts() == {"a": 3, "rare": 0}
    assert "made: a budget of 3 holds no image of 1 class: rare" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "acclimate.data"):
        assert len(sample_shots(data, "budget:300", 0)) == 201
    assert "has 201 images for a budget of 300 and gives them all" in caplog.text
    assert "rare" not in caplog.text


def test_the_same_budget_is_drawn_on_all_machines() -> None:
    assert sample_shots(simple(10, classes=2), "budget:4", 1).keys == ["0/0/0004", "0/0/0006", "1/0/0004", "1/0/0008"]
    grouped = simple(10, classes=2, group_size=2)
    assert sample_shots(grouped, 2, 1).keys == [
        "0/0/0003",
        "0/0/0004",
        "1/0/0001",
        "1/0/0004",
    ]
