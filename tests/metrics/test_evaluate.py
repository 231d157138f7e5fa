from __future__ import annotations

import json
import logging
import time
import tracemalloc

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.metrics import (
    CLASSIFICATION,
    accuracy,
    balanced_accuracy,
    evaluate_classification,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
)


def sample(n: int, c: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), labels] += 1
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), labels


def figures(p: np.ndarray, y: np.ndarray) -> list[float]:
    guess = p.argmax(1)
    return [
        accuracy(y, guess),
        balanced_accuracy(y, guess),
        macro_f1(y, guess),
        expected_calibration_error(p, y),
        negative_log_likelihood(p, y),
    ]


def test_values_are_those_of_the_functions() -> None:
    p, y = sample(120, 4)
    result = evaluate_classification(p, y, list("abcd"), resamples=50)
    for name, expected in zip(CLASSIFICATION, figures(p, y), strict=True):
        assert result[name]["value"] == pytest.approx(expected)
        assert result[name]["low"] <= result[name]["high"]
    assert result["samples"] == result["groups"] == 120
    assert sum(map(sum, result["confusion_matrix"])) == 120
    assert sum(c["support"] for c in result["per_class"].values()) == 120
    assert json.loads(json.dumps(result)) == result


def test_the_bootstrap_is_the_plain_one_over_groups() -> None:
    p, y = sample(30, 3)
    y[y == 2] = 1
    y[:2] = 2  # a rare class, absent from some resamples
    groups = [str(i // 3) for i in range(30)]
    result = evaluate_classification(p, y, list("abc"), groups, resamples=300, seed=5, confidence=0.9)
    assert result["groups"] == 10
    rng = np.random.default_rng(5)
    draws = []
    for picks in rng.integers(0, 10, (300, 10)):
        rows = np.concatenate([np.arange(3 * g, 3 * g + 3) for g in picks])
        draws.append(figures(p[rows], y[rows]))
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    for i, name in enumerate(CLASSIFICATION):
        assert result[name]["low"] == pytest.approx(low[i])
        assert result[name]["high"] == pytest.approx(high[i])


def test_groups_widen_the_interval() -> None:
    p, y = sample(40, 2, seed=3)
    p, y = np.repeat(p, 10, axis=0), np.repeat(y, 10)  # ten copies of each picture
    single = evaluate_classification(p, y, ["a", "b"])["accuracy"]
    grouped = evaluate_classification(p, y, ["a", "b"], [str(i // 10) for i in range(400)])["accuracy"]
    assert grouped["high"] - grouped["low"] > 2 * (single["high"] - single["low"])


def test_coverage_of_the_interval() -> None:
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        y = np.zeros(80, dtype=int)
        right = rng.random(80) < 0.7
        p = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8])
        interval = evaluate_classification(p, y, ["a", "b"], resamples=200, seed=seed)["accuracy"]
        hits += interval["low"] <= 0.7 <= interval["high"]
    assert hits >= 51  # 95 % of 60 is 57; fewer than 51 has a chance below 1 in 100


def test_seeded_and_empty_groups_are_samples() -> None:
    p, y = sample(25, 3)
    first = evaluate_classification(p, y, list("abc"), resamples=64, seed=1)
    assert first == evaluate_classification(p, y, list("abc"), groups=[""] * 25, resamples=64, seed=1)
    assert first != evaluate_classification(p, y, list("abc"), resamples=64, seed=2)
    mixed = evaluate_classification(p, y, list("abc"), groups=["x"] * 5 + [""] * 20, resamples=8)
    assert mixed["groups"] == 21


def test_one_group_has_no_interval(caplog: pytest.LogCaptureFixture) -> None:
    p, y = sample(5, 2)
    with caplog.at_level(logging.WARNING, logger="acclimate.metrics"):
        result = evaluate_classification(p, y, ["a", "b"], groups=["g"] * 5)
    assert result["accuracy"]["low"] == result["accuracy"]["value"] == result["accuracy"]["high"]
    assert "one group" in caplog.text


def test_one_sample_and_one_class() -> None:
    result = evaluate_classification([[1.0]], [0], ["only"])
    assert result["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert result["per_class"]["only"] == {"support": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0}


def test_bad_input() -> None:
    p, y = sample(5, 2)
    with pytest.raises(DataError, match="no samples"):
        evaluate_classification(np.zeros((0, 2)), np.zeros(0, int), ["a", "b"])
    with pytest.raises(ValueError, match="class names"):
        evaluate_classification(p, y, ["a"])
    with pytest.raises(ValueError, match="labels"):
        evaluate_classification(p, y[:4], ["a", "b"])
    with pytest.raises(ValueError, match="groups"):
        evaluate_classification(p, y, ["a", "b"], groups=["g"])
    with pytest.raises(ValueError, match="confidence"):
        evaluate_classification(p, y, ["a", "b"], confidence=1.0)
    with pytest.raises(ValueError, match="not finite"):
        evaluate_classification(p * np.nan, y, ["a", "b"])


def test_memory_for_many_samples() -> None:
    p, y = sample(100_000, 20)
    tracemalloc.start()
    start = time.process_time()
    evaluate_classification(p.astype(np.float32), y, [str(i) for i in range(20)], resamples=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500e6
    assert time.process_time() - start < 30
