"""Classes that were written: a label that does not exist lowers no mean over classes."""

import pytest
from sklearn.metrics import f1_score

from acclimate.metrics import evaluate_written


def test_an_answer_that_matches_no_class_is_wrong_and_counted():
    found = evaluate_written([0, 1, None, 1], [0, 1, 1, 0], 2)
    assert found["unmatched"] == 1
    assert found["accuracy"]["value"] == 0.5
    assert found["macro_f1"]["value"] == pytest.approx((2 / 3 + 2 / 4) / 2)


def test_macro_f1_is_that_of_scikit_learn_over_the_fixed_label_set():
    answers, labels = [0, 1, 2, None, 1, 0, None], [0, 1, 2, 2, 2, 1, 0]
    plain = [3 if answer is None else answer for answer in answers]
    over_labels = f1_score(labels, plain, labels=[0, 1, 2], average="macro")
    assert evaluate_written(answers, labels, 3)["macro_f1"]["value"] == pytest.approx(over_labels)
    assert over_labels > f1_score(labels, plain, average="macro")  # with a fourth label that does not exist


def test_all_right_is_one():
    found = evaluate_written([0, 1, 1], [0, 1, 1], 3)
    assert (found["accuracy"]["value"], found["macro_f1"]["value"], found["unmatched"]) == (1.0, 1.0, 0)
