"""Measures: what each figure is called, how it is shown and which way is better; each is declared here, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from acclimate.errors import ConfigError

CUTOFFS = (1, 5, 10)
DIRECTIONS = ("image_to_text", "text_to_image")


@dataclass(frozen=True)
class Measure:
    """One figure of an evaluation, or one cost of a run.

    Attributes:
        name: in records, specs and `results.csv`. A dot leads into a group of figures: `image_to_text.recall@1` is
            `recall@1` of the group `image_to_text`.
        title: in the tables of a bench.
        short: the heading of a column in a terminal.
        better: which way is better.
        scale: factor between what is stored and what is shown.
        digits: format of what is shown.
        unit: of a difference.
        is_cost: a price and no merit: the lowest is not marked as the best.
        harmonic: whether a harmonic mean makes sense, as it does for shares of images that are right.
    """

    name: str
    title: str
    short: str
    better: Literal["higher", "lower"]
    scale: float = 1.0
    digits: str = ".3f"
    unit: str = ""
    is_cost: bool = False
    harmonic: bool = False

    def show(self, value: float, sign: str = "") -> str:
        """Return a value as it stands in a table; a `sign` of "+" also marks what is positive."""
        return format(value * self.scale, f"{sign}z{self.digits}")


def _share(name: str, title: str, short: str) -> Measure:
    """Return the measure of a share of right answers, shown in percent."""
    return Measure(name, f"{title} (%)", short, "higher", 100.0, ".1f", "points", harmonic=True)


_CLASSIFICATION = (
    _share("accuracy", "accuracy", "accuracy"),
    _share("balanced_accuracy", "balanced accuracy", "balanced"),
    _share("macro_f1", "macro F1", "F1"),
    Measure("ece", "ECE", "ECE", "lower"),
    Measure("nll", "NLL", "NLL", "lower", unit="nats"),
)
_LABELS = (
    Measure("mean_average_precision", "mAP (%)", "mAP", "higher", 100.0, ".1f", "points"),
    _share("micro_f1", "micro F1", "micro F1"),
    _share("subset_accuracy", "subset accuracy", "all right"),
)
_RETRIEVAL = tuple(
    _share(
        f"{direction}.recall@{cutoff}",
        f"Recall@{cutoff}, {direction.replace('_', ' ')}",
        f"{direction.rpartition('_')[2]} @{cutoff}",
    )
    for direction in DIRECTIONS
    for cutoff in CUTOFFS
)
_ANSWERING = (
    _share("vqa_accuracy", "VQA accuracy", "VQA"),
    _share("exact_match", "exact match", "exact"),
)
_CAPTIONING = tuple(
    Measure(name, title, title, "higher", 100.0, ".1f", "points")
    for name, title in (
        ("cider_d", "CIDEr-D"),
        ("bleu_4", "BLEU-4"),
        ("rouge_l", "ROUGE-L"),
        ("bleu_1", "BLEU-1"),
        ("bleu_2", "BLEU-2"),
        ("bleu_3", "BLEU-3"),
        ("clip_score", "CLIPScore"),
        ("ref_clip_score", "RefCLIPScore"),
    )
)
_COSTS = (
    Measure("seconds", "seconds", "s", "lower", digits=".1f", unit="s", is_cost=True),
    Measure("learned_parameters", "learned parameters", "parameters", "lower", digits=",.0f", is_cost=True),
)

MEASURES = {
    measure.name: measure for measure in (*_CLASSIFICATION, *_LABELS, *_RETRIEVAL, *_ANSWERING, *_CAPTIONING, *_COSTS)
}
"""All measures by name, in the order in which they are listed everywhere."""
CLASSIFICATION = tuple(measure.name for measure in _CLASSIFICATION)
"""The figures of `evaluate_classification`."""
LABELS = ("mean_average_precision", "macro_f1", "micro_f1", "subset_accuracy")
"""The figures of `evaluate_several`, of images that may have several labels."""
RETRIEVAL = tuple(measure.name for measure in _RETRIEVAL)
"""The figures of `evaluate_retrieval`."""
ANSWERING = tuple(measure.name for measure in _ANSWERING)
"""The figures of `evaluate_answers`."""
CAPTIONING = tuple(measure.name for measure in _CAPTIONING)
"""The figures of `evaluate_captions`."""
JUDGED = ("clip_score", "ref_clip_score")
"""Those of them that a dual encoder gives."""


def get_measure(name: str) -> Measure:
    """Return the measure of a name.

    Raises:
        ConfigError: nobody knows it.
    """
    if name not in MEASURES:
        raise ConfigError(f"no metric '{name}'; choose one of {', '.join(MEASURES)}")
    return MEASURES[name]


def flat_values(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of an evaluation without their intervals, by the names of their measures.

    Args:
        metrics: as `evaluate_classification` or `evaluate_retrieval` return them and records hold them.

    Raises:
        ValueError: there is no figure of a known measure.

    >>> recalls = {"recall@1": {"value": 0.5, "low": 0.4, "high": 0.6}}
    >>> flat_values({"images": 20, "image_to_text": recalls})
    {'image_to_text.recall@1': 0.5}
    """
    found = {name: find_figure(metrics, name) for name in MEASURES}
    values = {name: float(figure["value"]) for name, figure in found.items() if figure is not None}
    if not values:
        raise ValueError(f"no known figure among {', '.join(metrics) or 'none'}")
    return values


def find_figure(metrics: Mapping[str, Any], name: str) -> Mapping[str, float] | None:
    """Return a figure of an evaluation with its interval (`value`, `low`, `high`), by its name; none where it is not.

    >>> find_figure({"image_to_text": {"recall@1": {"value": 0.5}}}, "image_to_text.recall@1")
    {'value': 0.5}
    """
    group, _, last = name.rpartition(".")
    return (metrics.get(group, {}) if group else metrics).get(last)
