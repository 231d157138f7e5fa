"""The comparison in pairs, beside exact values and scipy."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from scipy.stats import binomtest

from acclimate.metrics import compare_hits, paired


def test_the_examples_are_true():
    assert doctest.testmod(paired).failed == 0


@pytest.mark.parametrize(("wins", "losses"), [(6, 0), (5, 0), (7, 1), (3, 8), (4, 4), (0, 0)])
def test_with_one_image_a_group_it_is_mcnemars_exact_test(wins, losses):
    own = [1] * wins + [0] * losses + [1] * 20
    other = [0] * wins + [1] * losses + [1] * 20
    found = compare_hits(own, other)
    exact = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert found["p"] == pytest.approx(exact)
    assert found["differing"] == wins + losses
    assert found["difference"]["value"] == pytest.approx((wins - losses) / len(own))


@pytest.mark.parametrize(("images", "outcome"), [(5, "within the noise"), (6, "better")])
def test_five_images_prove_nothing(images, outcome):
    assert compare_hits([1] * images, [0] * images)["outcome"] == outcome
    assert compare_hits([0] * images, [1] * images)["outcome"] == outcome.replace("better", "worse")


def test_images_of_one_group_are_one_piece_of_evidence():
    own, other = [1] * 40, [0] * 40
    assert compare_hits(own, other)["outcome"] == "better"
    assert compare_hits(own, other, groups=["a"] * 20 + ["b"] * 20)["outcome"] == "within the noise"


def test_many_groups_that_differ_are_drawn_and_agree_with_the_exact_test():
    own = np.array([1] * 40 + [0] * 20)
    found = compare_hits(own, 1 - own)
    assert found["p"] == pytest.approx(binomtest(40, 60).pvalue, abs=0.005)
    assert found["difference"]["low"] > 0
    assert found["outcome"] == "better"


def test_pairs_tell_what_two_intervals_cannot():
    """Both are right on most images, and the same ones: alone, their intervals overlap."""
    own, other = np.ones(200), np.ones(200)
    own[190:] = other[180:] = 0
    found = compare_hits(own, other)
    assert found["outcome"] == "better"
    assert found["difference"]["value"] == pytest.approx(0.05)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="shapes"):
        compare_hits([1, 0], [1])
    with pytest.raises(ValueError, match="shapes"):
        compare_hits([], [])
