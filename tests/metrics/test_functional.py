from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassCalibrationError

from acclimate.errors import DataError
from acclimate.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sample(n: int, c: int, seed: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n)
    logits = rng.normal(size=(n, c)) * scale
    logits[np.arange(n), labels] += scale
    return softmax(logits), labels


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(0, 10**6))
@pytest.mark.filterwarnings("ignore")
def test_against_sklearn(n: int, c: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, guess = rng.integers(0, c, n), rng.integers(0, c, n)
    present = np.unique(y)
    assert accuracy(y, guess) == pytest.approx(reference.accuracy_score(y, guess))
    assert balanced_accuracy(y, guess) == pytest.approx(
        reference.recall_score(y, guess, labels=present, average="macro")
    )
    assert macro_f1(y, guess) == pytest.approx(
        reference.f1_score(y, guess, labels=present, average="macro", zero_division=0)
    )
    np.testing.assert_array_equal(
        confusion_matrix(y, guess, c), reference.confusion_matrix(y, guess, labels=np.arange(c))
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("bins", [1, 10, 15])
def test_ece_against_torchmetrics(scale: float, bins: int) -> None:
    p, y = sample(500, 5, seed=1, scale=scale)
    expected = MulticlassCalibrationError(5, n_bins=bins, norm="l1")(torch.tensor(p), torch.tensor(y))
    assert expected_calibration_error(p, y, bins) == pytest.approx(float(expected), abs=1e-6)


def test_ece_at_the_edges() -> None:
    assert expected_calibration_error(np.eye(3), [0, 1, 2]) == 0
    assert expected_calibration_error(np.eye(3), [1, 2, 0]) == 1
    # Bins are open below and closed above: 0.5 shares a bin with 0.45, where a hit and a miss weigh each other up.
    p = np.array([[0.5, 0.3, 0.2], [0.45, 0.3, 0.25]])
    assert expected_calibration_error(p, [0, 1], bins=10) == pytest.approx((1 - 0.5 - 0.45) / 2)


def test_nll_against_sklearn() -> None:
    p, y = sample(200, 4, seed=2)
    assert negative_log_likelihood(p, y) == pytest.approx(reference.log_loss(y, p, labels=np.arange(4)))
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(-np.log(1e-12))
    assert negative_log_likelihood(p.astype(np.float16), y) == pytest.approx(negative_log_likelihood(p, y), abs=1e-2)


def test_no_samples() -> None:
    for metric in (accuracy, balanced_accuracy, macro_f1):
        with pytest.raises(DataError, match="no samples"):
            metric([], [])
    for metric in (expected_calibration_error, negative_log_likelihood):
        with pytest.raises(DataError, match="no samples"):
            metric(np.zeros((0, 3)), [])


@pytest.mark.parametrize(
    ("p", "y", "part"),
    [
        ([[np.nan, 1.0]], [0], "sample 0 are not finite"),
        ([[0.5, 0.5], [0.9, 0.9]], [0, 1], "sample 1 .* softmax"),
        ([[1.5, -0.5]], [0], "negative"),
        ([0.5, 0.5], [0], "samples, classes"),
        ([[0.5, 0.5]], [2], "outside 0..1"),
        ([[0.5, 0.5]], [-1], "outside 0..1"),
        ([[0.5, 0.5]], [0.0], "integers"),
        ([[0.5, 0.5]], [0, 1], "2 labels"),
    ],
)
def test_bad_input(p: list, y: list, part: str) -> None:
    for metric in (expected_calibration_error, negative_log_likelihood):
        with pytest.raises(ValueError, match=part):
            metric(p, y)


def test_lengths_and_bins() -> None:
    with pytest.raises(ValueError, match="predictions"):
        accuracy([0, 1], [0])
    with pytest.raises(ValueError, match="predictions"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error([[1.0]], [0], bins=0)


@pytest.mark.parametrize("module", ["functional", "evaluate", "retrieval", "measures"])
def test_examples_in_the_docstrings(module: str) -> None:
    result = doctest.testmod(importlib.import_module(f"acclimate.metrics.{module}"))
    assert result.attempted > 1
    assert result.failed == 0
