from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from acclimate.metrics import (
    conformal_threshold,
    evaluate_sets,
    fit_temperature,
    negative_log_likelihood,
    nonconformity,
    sets_within,
    tempered,
    units_needed,
)

COVERAGES = (0.5, 0.8, 0.9, 0.95, 0.99)


def world(count, classes=4, seed=0, sharpness=3.0):
    """Probabilities that are too sharp by `sharpness`, and labels drawn from what they should be."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, classes))
    labels = np.array([random.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return softmax(sharpness * logits, axis=1), labels


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("count", [1, 8, 9, 18, 19, 50, 98, 99, 100])
def test_the_threshold_is_the_rank_of_the_books(count, coverage):
    scores = np.random.default_rng(count).normal(size=count)
    rank = math.ceil(round((count + 1) * coverage, 9))
    expected = math.inf if rank > count else np.sort(scores)[rank - 1]
    assert conformal_threshold(scores, coverage) == expected
    assert math.isinf(expected) == (count < units_needed(coverage))


@pytest.mark.parametrize("coverage", COVERAGES)
def test_what_is_needed_is_the_least_that_serves(coverage):
    needed = units_needed(coverage)
    for count in (needed - 1, needed):
        rank = math.ceil(round((count + 1) * coverage, 9))
        assert (rank <= count) == (count == needed)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=40),
    st.sampled_from(COVERAGES),
)
def test_groups_share_the_weight_of_one_image(pairs, coverage):
    """Against the definition: the smallest score at which the groups' shares add up to c (G + 1)."""
    scores, groups = zip(*pairs, strict=True)
    sizes = {group: groups.count(group) for group in groups}
    found = math.inf
    for candidate in sorted(scores):
        weight = sum(1 / sizes[group] for score, group in pairs if score <= candidate)
        if weight >= coverage * (len(sizes) + 1) - 1e-7:
            found = candidate
            break
    assert conformal_threshold(scores, coverage, [f"g{group}" for group in groups]) == found


def test_an_image_without_a_group_is_one_of_its_own():
    scores = [0.3, 0.1, 0.2, 0.5]
    assert conformal_threshold(scores, 0.8, ["", "", "", ""]) == conformal_threshold(scores, 0.8) == 0.5
    assert conformal_threshold(scores, 0.8, ["a", "a", "a", "a"]) == math.inf  # one group tells nothing


@pytest.mark.parametrize("sizes", [(1,) * 40, (1, 9) * 20], ids=["images", "groups"])
def test_a_new_image_lies_below_the_threshold_as_often_as_is_asked(sizes):
    """Groups shift all scores of their images, so that images alone would be taken for more than they tell."""
    random, held, trials = np.random.default_rng(0), [], 1500
    for _ in range(trials):
        shifts = random.normal(size=len(sizes) + 1)
        scores = np.concatenate(
            [shift + 0.3 * random.normal(size=size) for shift, size in zip(shifts, sizes, strict=False)]
        )
        groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
        held.append(shifts[-1] + 0.3 * random.normal() <= conformal_threshold(scores, 0.9, groups))
    error = (0.9 * 0.1 / trials) ** 0.5
    assert 0.9 - 3 * error <= np.mean(held) <= 0.9 + 1 / (len(sizes) + 1) + 3 * error


def test_tempered_is_the_softmax_of_logits_divided():
    logits = np.random.default_rng(1).normal(0, 3, (20, 5))
    for temperature in (0.3, 1.0, 4.0):
        np.testing.assert_allclose(
            tempered(softmax(logits, axis=1), temperature), softmax(logits / temperature, axis=1)
        )
    assert tempered([[1.0, 0.0]], 0.5).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_is_too_sharp(sharpness):
    probabilities, labels = world(4000, sharpness=sharpness)
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(sharpness, rel=0.08)
    best = negative_log_likelihood(tempered(probabilities, found), labels)
    for factor in (0.9, 1.1):
        assert best <= negative_log_likelihood(tempered(probabilities, found * factor), labels)


def test_the_temperature_where_nothing_tells():
    assert fit_temperature([[1.0, 0.0], [1.0, 0.0]], [1, 1]) == 1.0  # classes that were never seen
    assert fit_temperature([[1.0], [1.0]], [0, 0]) == 1.0  # one class
    assert 0.04 < fit_temperature([[0.9, 0.1], [0.2, 0.8]], [0, 1]) < 0.06  # all right: as sure as may be


def test_sets():
    probabilities = [[0.5, 0.3, 0.2], [0.9, 0.08, 0.02], [0.34, 0.33, 0.33]]
    assert nonconformity(probabilities, [1, 0, 2]).round(2).tolist() == [0.7, 0.1, 0.67]
    assert sets_within(probabilities, [0.7] * 3).tolist() == [[True, True, False], [True, False, False], [True] * 3]
    assert sets_within(probabilities, [math.inf] * 3).all()
    assert sets_within(probabilities, [0.0] * 3).sum(axis=1).tolist() == [1, 1, 1]  # never empty
    assert sets_within(probabilities, [0.0, 0.0, math.inf])[0].tolist() == [True, False, True]


def test_what_sets_are_worth():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 1, 1]], dtype=bool)
    found = evaluate_sets(sets, [0, 2, 1, 1], ["cat", "dog", "river"])
    assert found["coverage"]["value"] == 0.75
    assert found["coverage"]["low"] < 0.75 < found["coverage"]["high"]
    assert found["size"]["value"] == 2.0
    assert found["balanced_coverage"] == pytest.approx(2 / 3)
    assert found["group_coverage"] == 0.75
    grouped = evaluate_sets(sets, [0, 2, 1, 1], ["cat", "dog", "river"], ["a", "b", "a", "a"])
    assert grouped["group_coverage"] == 0.5  # group a is held, b is not
    assert found["worst_class"] == {"name": "river", "coverage": 0.0, "images": 1}
    assert (found["single"], found["all"]) == (0.25, 0.25)
    alone = evaluate_sets(sets[:1], [0], ["cat", "dog", "river"])  # classes without images are not the worst
    assert alone["worst_class"] == {"name": "cat", "coverage": 1.0, "images": 1}
