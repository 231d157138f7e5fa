"""Metrics: a functional numpy core, and one call that gives every figure of an evaluation."""

from __future__ import annotations

from acclimate.metrics.evaluate import METRICS, evaluate_classification
from acclimate.metrics.functional import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
)
from acclimate.metrics.retrieval import evaluate_retrieval

__all__ = [
    "METRICS",
    "accuracy",
    "balanced_accuracy",
    "confusion_matrix",
    "evaluate_classification",
    "evaluate_retrieval",
    "expected_calibration_error",
    "macro_f1",
    "negative_log_likelihood",
]
