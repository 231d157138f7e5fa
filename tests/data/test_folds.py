from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acclimate.data.folds import deal_folds


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=60), st.integers(1, 6))
def test_what_is_of_one_unit_stays_together(pairs, folds):
    labels, units = zip(*pairs, strict=True)
    found = deal_folds(labels, units, folds)
    assert len(found) == len(pairs)
    assert set(found) <= set(range(folds))
    for unit in set(units):
        assert len({fold for fold, own in zip(found, units, strict=True) if own == unit}) == 1
    assert (deal_folds(labels, units, folds) == found).all()


def test_classes_are_spread_evenly():
    labels = [0] * 16 + [1] * 16 + [2] * 3
    found = deal_folds(labels, range(35), 5)
    counts = [np.bincount(found[np.array(labels) == label], minlength=5).tolist() for label in range(3)]
    assert counts == [[4, 3, 3, 3, 3], [4, 3, 3, 3, 3], [1, 1, 1, 0, 0]]  # what is left stays balanced
    assert deal_folds([0, 0], ["a", "b"], 5).tolist() == [0, 1]  # fewer units than folds
    assert deal_folds([0, 1, 2], ["a", "b", "c"], 2).tolist() == [0, 1, 0]  # each alone: something is left to learn
