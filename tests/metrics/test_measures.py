from __future__ import annotations

import subprocess
import sys

import pytest

from acclimate.errors import ConfigError
from acclimate.metrics import (
    CLASSIFICATION,
    MEASURES,
    evaluate_classification,
    evaluate_retrieval,
    flat_values,
    get_measure,
)
from tests.helpers.waiting import HANG


def figures(content, group=""):
    """Names of all that has an interval, however deep."""
    found = []
    for name, value in content.items():
        if isinstance(value, dict):
            found += [group + name] if {"value", "low", "high"} <= set(value) else figures(value, f"{group}{name}.")
    return found


@pytest.mark.parametrize(
    "metrics",
    [
        evaluate_classification([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ["cat", "value"], resamples=2),
        evaluate_retrieval([[0.9, 0.1, 0.3], [0.2, 0.4, 0.8]], [0, 0, 1], resamples=2),
    ],
    ids=["classification", "retrieval"],
)
def test_every_figure_of_an_evaluation_has_a_measure_and_is_found_under_its_name(metrics):
    assert list(flat_values(metrics)) == figures(metrics)
    assert set(figures(metrics)) <= set(MEASURES)


def test_values_are_those_of_the_evaluation():
    metrics = evaluate_classification([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1], ["a", "b"], resamples=2)
    assert flat_values(metrics) == {name: metrics[name]["value"] for name in CLASSIFICATION}
    recalls = evaluate_retrieval([[0.9, 0.1, 0.3], [0.2, 0.4, 0.8]], [0, 0, 1], resamples=2)
    assert flat_values(recalls)["text_to_image.recall@1"] == recalls["text_to_image"]["recall@1"]["value"]


def test_what_holds_no_figure():
    with pytest.raises(ValueError, match="no known figure among samples"):
        flat_values({"samples": 3})
    with pytest.raises(ValueError, match="no known figure among none"):
        flat_values({})


def test_each_is_shown_in_its_way():
    assert get_measure("balanced_accuracy").show(0.12345) == "12.3"
    assert get_measure("ece").show(0.01234, "+") == "+0.012"
    assert get_measure("nll").show(-0.0001) == "0.000"
    assert get_measure("learned_parameters").show(12288) == "12,288"
    with pytest.raises(ConfigError, match="no metric 'acuracy'; choose one of accuracy, balanced_accuracy, "):
        get_measure("acuracy")


def test_headings_tell_measures_apart():
    for heading in ("title", "short"):
        assert len({getattr(measure, heading) for measure in MEASURES.values()}) == len(MEASURES)
    assert [name for name, measure in MEASURES.items() if measure.is_cost] == ["seconds", "learned_parameters"]
    assert [MEASURES[name].short for name in CLASSIFICATION] == ["accuracy", "balanced", "F1", "ECE", "NLL"]


def test_a_look_at_the_measures_is_quick():
    code = "import sys, acclimate.metrics; assert not {'torch', 'scipy', 'sklearn', 'datasets'} & sys.modules.keys()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
