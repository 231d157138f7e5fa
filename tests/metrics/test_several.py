from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from acclimate.errors import DataError
from acclimate.metrics import evaluate_labels, evaluate_several, mean_average_precision
from acclimate.metrics.evaluate import draws


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


def test_all_figures_equal_those_of_scikit_learn():
    random = np.random.default_rng(1)
    scores, truth = random.random((60, 4)).round(1), random.random((60, 4)) < 0.3  # many scores are equal
    truth[:, 2], thresholds = False, np.array([0.3, 0.5, 0.6, 0.7])
    given, some = scores >= thresholds, [0, 1, 3]
    found = evaluate_several(scores, truth, thresholds, list("abcd"), resamples=50)
    expected = {
        "mean_average_precision": average_precision_score(truth[:, some], scores[:, some], average="macro"),
        "macro_f1": f1_score(truth[:, some], given[:, some], average="macro"),
        "micro_f1": f1_score(truth, given, average="micro"),
        "subset_accuracy": accuracy_score(truth, given),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value)
        assert found[name]["low"] < value < found[name]["high"]
    row = found["per_label"]["d"]
    assert row["average_precision"] == pytest.approx(average_precision_score(truth[:, 3], scores[:, 3]))
    assert row["precision"] == pytest.approx(precision_score(truth[:, 3], given[:, 3]))
    assert row["recall"] == pytest.approx(recall_score(truth[:, 3], given[:, 3]))
    assert (row["support"], row["threshold"]) == (truth[:, 3].sum(), 0.7)
    assert found["per_label"]["c"]["average_precision"] is None


def test_resamples_are_weighted_means():
    random = np.random.default_rng(2)
    scores, truth = random.random((30, 3)).round(1), random.random((30, 3)) < 0.4
    groups, thresholds = [f"patient {row // 3}" for row in range(30)], np.full(3, 0.5)
    found = evaluate_several(scores, truth, thresholds, list("abc"), groups, resamples=20, seed=5)
    index, count = np.repeat(np.arange(10), 3), 10
    weights = np.concatenate(list(draws(count, 20, 5)))[:, index]
    means = [average_precision_score(truth, scores, average="macro", sample_weight=row) for row in weights]
    f1 = [f1_score(truth, scores >= 0.5, average="macro", sample_weight=row) for row in weights]
    for name, values in (("mean_average_precision", means), ("macro_f1", f1)):
        ends = [found[name]["low"], found[name]["high"]]
        assert ends == pytest.approx(list(np.quantile(values, [0.025, 0.975])))


def test_what_no_sample_has_cannot_be_measured():
    found = evaluate_several(np.full((3, 2), 0.2), np.zeros((3, 2)), [0.5, 0.5], ["a", "b"])
    assert found["subset_accuracy"]["value"] == 1.0
    assert not {"mean_average_precision", "macro_f1", "micro_f1"} & found.keys()


def test_bad_input():
    with pytest.raises(DataError, match="no samples"):
        evaluate_labels(np.zeros((0, 2)), np.zeros((0, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_labels(np.zeros((3, 2)), np.zeros((3, 2)), ["a"])
    with pytest.raises(DataError, match="no samples"):
        evaluate_several(np.zeros((0, 2)), np.zeros((0, 2)), [0.5, 0.5], ["a", "b"])
    with pytest.raises(ValueError, match="do not fit"):
        evaluate_several(np.zeros((3, 2)), np.zeros((3, 2)), [0.5], ["a", "b"])
