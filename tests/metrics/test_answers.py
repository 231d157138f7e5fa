from __future__ import annotations

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.metrics import evaluate_answers, exact_match, flat_values, normalise_answer, right_answers, vqa_accuracy

# What the official evaluation (https://visualqa.org, vqaEval.py) makes of these texts.
OFFICIAL = {
    "The two red-brick houses.": "2 red-brick houses",
    "isnt 1,000 a/b": "isn't 1000 ab",
    "It's 10:30, oclock": "it s 10 30 o'clock",
    "None": "0",
    "twas the U.S.": "'twas us",
    "on/off (left)": "on off left",
    "3.5 a+b x_y": "3.5 b x y",
    "dont know?": "don't know",
    "Yes , No.": "yes no",
    "an\tapple\nand ten": "apple and 10",
    'youre, a "cat"': "you're cat",
    "theyve [x]: y": "they've x y",
}
TEN = ["yes", "Yes.", "no", "yes", "no", "yes, sir", "yes", "2", "two", "no"]
OFFICIAL_ACCURACY = {"Yes": 0.9, "no!": 0.0, "no": 0.9, "2": 0.3, "two": 0.3, "maybe": 0.0, "yes, sir": 0.3}


@pytest.mark.parametrize("text", OFFICIAL)
def test_normalised_as_the_official_evaluation_does(text):
    assert normalise_answer(text) == OFFICIAL[text]


@pytest.mark.parametrize("answer", OFFICIAL_ACCURACY)
def test_ten_references_count_as_in_the_official_evaluation(answer):
    assert vqa_accuracy(answer, TEN) == pytest.approx(OFFICIAL_ACCURACY[answer], abs=1e-9)


def test_few_references():
    assert vqa_accuracy("The Red", ["red."]) == 1.0  # both sides normalised
    assert vqa_accuracy("red", ["blue"]) == 0.0
    assert vqa_accuracy("red", ["red", "red"]) == 1.0
    assert vqa_accuracy("red", ["red", "blue"]) == 0.5  # of the two ways to leave one out, one holds it
    assert exact_match("red", ["a Red!", "blue"]) is False  # the mark becomes a blank only where none is beside it
    assert exact_match("red", ["a Red.", "blue"]) is True


def test_figures_and_their_intervals():
    answers = ["red", "two", "yes", "blue"] * 10
    references = [["Red"], ["2"], ["no"], ["green"]] * 10
    groups = [f"image {row // 4}" for row in range(40)]
    found = evaluate_answers(answers, references, groups)
    assert found["vqa_accuracy"] == {"value": 0.5, "low": 0.5, "high": 0.5}  # every group is half right
    assert (found["samples"], found["groups"], found["most_frequent"]) == (40, 10, 0.25)
    alone = evaluate_answers(answers, references)["vqa_accuracy"]
    assert 0.3 < alone["low"] < 0.4 < 0.6 < alone["high"] < 0.7
    assert flat_values(found) == {"vqa_accuracy": 0.5, "exact_match": 0.5}
    assert np.array_equal(right_answers(answers, references), [1, 1, 0, 0] * 10)
    with pytest.raises(DataError, match="no questions to measure answers to"):
        evaluate_answers([], [])
