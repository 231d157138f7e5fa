from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from acclimate.errors import DataError
from acclimate.metrics import evaluate_labels, mean_average_precision


def test_equal_to_scikit_learn_where_a_label_tells_anything():
    random = np.random.default_rng(0)
    scores, truth = random.random((40, 4)), random.random((40, 4)) < 0.4
    truth[:, 2], truth[:, 3] = False, True  # of which nothing can be said
    found = evaluate_labels(scores, truth, ["a", "b", "c", "d"])
    known = [0, 1]
    assert found["mean_average_precision"]["value"] == pytest.approx(
        np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in known])
    )
    assert found["macro_auc"]["value"] == pytest.approx(roc_auc_score(truth[:, known], scores[:, known]))
    assert found["per_label"]["c"] == {"support": 0, "average_precision": None, "auc": None}
    assert found["exact_match"]["value"] == np.mean(((scores >= 0.5) == truth).all(1))
    assert found["label_accuracy"]["value"] == np.mean((scores >= 0.5) == truth)
    assert mean_average_precision(scores[:, 2:], truth[:, 2:]) is None


def test_bad_input():
    with pytest.raises(DataError, match="no samples"):
        evaluate_labels(np.zeros((0, 2)), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_labels(np.zeros((3, 2)), np.zeros((3, 2)), ["a"])
