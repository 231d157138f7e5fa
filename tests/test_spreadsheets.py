from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acclimate.bench.scores import Score, read_scores, write_scores
from acclimate.data import load_data
from acclimate.runs.prediction_files import open_writer
from acclimate.spreadsheets import as_text, from_text
from tests.helpers.pictures import make_pictures

FORMULA = "=cmd|' /C calc'!A0"
HARMFUL = [FORMULA, "+1+2", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'=1", "''@x", "＝1"]
USUAL = ["cat", "-1", "+1.5", "-1e-3", "-.5", "don't", "'quoted'", "a=b", "1", "", "日本語"]


@pytest.mark.parametrize("text", HARMFUL)
def test_formulas_get_an_apostrophe(text):
    assert as_text(text) == f"'{text}"
    assert from_text(as_text(text)) == text


@pytest.mark.parametrize("text", USUAL)
def test_other_texts_stay(text):
    assert as_text(text) == from_text(text) == text


@given(st.text(alphabet="'=+-@\t1.,ex", max_size=6))
def test_every_text_comes_back(text):
    assert from_text(as_text(text)) == text
    assert not as_text(text).startswith(tuple("=@\t"))


def test_predictions_are_no_formulas_and_can_be_read_as_labels(tmp_path):
    make_pictures(tmp_path, ("a", "b"), 1)
    columns = {"path": str, "label": str, "probability": float, f"p({FORMULA})": float, "@x": float}
    writer = open_writer(tmp_path / "labels.csv", columns)
    for path, label in (("a/000.png", FORMULA), ("b/000.png", "-1")):
        writer.write({"path": path, "label": label, "probability": -0.5, f"p({FORMULA})": None})
    writer.close()
    with (tmp_path / "labels.csv").open(newline="") as file:
        head, first, second = csv.reader(file)
    assert head == ["path", "label", "probability", f"p({FORMULA})", "'@x"]
    assert first == ["a/000.png", f"'{FORMULA}", "-0.5", "", ""]
    assert second[1] == "-1"
    assert set(load_data(tmp_path).class_names) == {FORMULA, "-1"}


def test_scores_of_a_bench_come_back(tmp_path):
    usual = Score("few-shot", "last", "mini-clip", "pets", "", "", "coop", "4", 1, "accuracy", 0.5)
    scores = [replace(usual, data=text, method=f"{text};=x", seed=seed) for seed, text in enumerate(HARMFUL)]
    write_scores(tmp_path / "results.csv", scores)
    assert set(read_scores(tmp_path / "results.csv")) == set(scores)
    text = (tmp_path / "results.csv").read_text()
    assert f"'{FORMULA}" in text
    assert f'"\'{FORMULA};=x"' in text  # one cell where spreadsheets divide at semicolons, too
