"""The deepest node of a hierarchy that is sure enough, against the plain way."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.data.hierarchy import Hierarchy
from acclimate.errors import DataError
from acclimate.metrics import evaluate_levels
from acclimate.tasks.within import Within, told_levels

CLASSES = tuple("abcdefg")
ABOVE = {"a": "ab", "b": "ab", "ab": "abc", "c": "abc", "d": "de", "e": "de", "abc": "top", "de": "top", "f": "top"}


def plainly(row, floor):
    """Walk over all nodes, one after the other."""
    best = ("", 0, 1.0)
    for node in {*ABOVE, *ABOVE.values(), *CLASSES}:
        chain = [node]
        while chain[-1] in ABOVE:
            chain.append(ABOVE[chain[-1]])
        below = []
        for number, name in enumerate(CLASSES):
            up = name
            while up != node and up in ABOVE:
                up = ABOVE[up]
            if up == node:
                below.append(number)
        total = sum(row[number] for number in below)
        if total >= floor - 1e-9 and (len(chain), total) > (best[1], best[2] if best[1] else 0.0):
            best = (node, len(chain), total)
    return best


@pytest.mark.parametrize("floor", [0.3, 0.5, 0.8, 0.95, 0.999])
def test_equal_to_the_plain_way(floor):
    random = np.random.default_rng(0)
    shares = np.concatenate([random.dirichlet(np.full(7, 0.3), 60), np.eye(7)])
    found = Within(Hierarchy(CLASSES, ABOVE), floor).nodes(shares)
    for node, row in zip(found, shares, strict=True):
        name, level, total = plainly(row, floor)
        assert (node.name, node.level) == (name, level)
        assert node.probability == pytest.approx(total)
    assert {node.level for node in found} >= {3, 4}


def test_probabilities_are_tempered_first():
    within = Within(Hierarchy(("a", "b", "c"), {"a": "ab", "b": "ab"}), 0.8)
    shares = np.array([[0.85, 0.1, 0.05]])
    assert within.nodes(shares)[0].name == "a"
    (node,) = within.nodes(shares, temperature=3.0)
    warm = shares[0] ** (1 / 3) / (shares[0] ** (1 / 3)).sum()
    assert node == ("", 0, 1.0)
    assert Within(within.hierarchy, 0.7).nodes(shares, 3.0)[0].probability == pytest.approx(warm[:2].sum())


def test_levels_are_counted():
    levels, right = [1, 2, 2, 2, 0, 1], [True, True, False, True, False, False]
    found = evaluate_levels(levels, right, ["x", "x", "y", "z", "z", "w"], resamples=200)
    assert {level: row["share"]["value"] for level, row in found["levels"].items()} == {"1": 2 / 6, "2": 3 / 6}
    assert found["levels"]["1"]["accuracy"]["value"] == 0.5
    assert found["levels"]["2"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["accuracy"]["value"] == pytest.approx(3 / 5)
    assert found["unanswered"]["value"] == pytest.approx(1 / 6)
    assert found["accuracy"]["low"] < 3 / 5 < found["accuracy"]["high"]
    words = told_levels({"floor": 0.8, **found})
    assert words == (
        "in the hierarchy at 80%: level 1 for 33.3 %, 50.0 % of them right, level 2 for 50.0 %, 66.7 % of them right, "
        "no node for 16.7 %"
    )
    assert "accuracy" not in evaluate_levels([0, 0], [False, False])
    with pytest.raises(DataError, match="no samples"):
        evaluate_levels([], [])
