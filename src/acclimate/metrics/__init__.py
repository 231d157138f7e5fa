"""Metrics: a functional numpy core, one call that gives every figure of an evaluation, and what each is called."""

from __future__ import annotations

from acclimate.metrics.answers import evaluate_answers, exact_match, normalise_answer, right_answers, vqa_accuracy
from acclimate.metrics.captions import caption_scores, evaluate_captions
from acclimate.metrics.clip_score import PREFIX, clip_score, ref_clip_score
from acclimate.metrics.conformal import (
    conformal_threshold,
    evaluate_sets,
    fit_temperature,
    nonconformity,
    sets_within,
    tempered,
    units_needed,
)
from acclimate.metrics.evaluate import evaluate_classification
from acclimate.metrics.functional import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
)
from acclimate.metrics.levels import evaluate_levels
from acclimate.metrics.measures import (
    ANSWERING,
    CAPTIONING,
    CLASSIFICATION,
    JUDGED,
    LABELS,
    MEASURES,
    RETRIEVAL,
    Measure,
    find_figure,
    flat_values,
    get_measure,
)
from acclimate.metrics.novelty import area_under_roc, left_out_distances, nearest_distances, p_values
from acclimate.metrics.paired import compare_hits
from acclimate.metrics.retrieval import evaluate_retrieval, first_answers
from acclimate.metrics.several import evaluate_labels, evaluate_several, mean_average_precision
from acclimate.metrics.written import evaluate_written

__all__ = [
    "ANSWERING",
    "CAPTIONING",
    "CLASSIFICATION",
    "JUDGED",
    "LABELS",
    "MEASURES",
    "PREFIX",
    "RETRIEVAL",
    "Measure",
    "accuracy",
    "area_under_roc",
    "balanced_accuracy",
    "caption_scores",
    "clip_score",
    "compare_hits",
    "conformal_threshold",
    "confusion_matrix",
    "evaluate_answers",
    "evaluate_captions",
    "evaluate_classification",
    "evaluate_labels",
    "evaluate_levels",
    "evaluate_retrieval",
    "evaluate_sets",
    "evaluate_several",
    "evaluate_written",
    "exact_match",
    "expected_calibration_error",
    "find_figure",
    "first_answers",
    "fit_temperature",
    "flat_values",
    "get_measure",
    "left_out_distances",
    "macro_f1",
    "mean_average_precision",
    "nearest_distances",
    "negative_log_likelihood",
    "nonconformity",
    "normalise_answer",
    "p_values",
    "ref_clip_score",
    "right_answers",
    "sets_within",
    "tempered",
    "units_needed",
    "vqa_accuracy",
]
