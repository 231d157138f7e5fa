"""Figures of captions beside what COCO's evaluation code (pycocoevalcap 1.2) gives for the same words."""

from __future__ import annotations

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.metrics.captions import bleu, bleu_counts, cider_d, evaluate_captions, rouge_l, words

CAPTIONS = [
    "a brown dog runs on the grass",
    "two men play guitar",
    "a child in a pink dress",
    "a boat",
    "a dog is running through a grassy field with a ball in its mouth",
    "people sit at a table",
]
REFERENCES = [
    ["a brown dog runs across the green grass", "the dog is running on grass"],
    ["two men are playing the guitar on a stage", "a band plays music", "two people play guitar"],
    ["a little girl in a pink dress climbs stairs"],
    ["a small boat floats on the lake", "a boat on water"],
    ["a white dog runs through a field", "a dog carries a ball in its mouth", "the dog is in a grassy field"],
    ["a group of people sit around a table", "people eat dinner at a table"],
]
OFFICIAL_CIDER = [2.801961838, 1.433020469, 3.406413045, 1.920142866, 1.541004524, 2.701386279]
OFFICIAL_BLEU = [0.894736842, 0.766270874, 0.587955692, 0.443576596]
OFFICIAL_ROUGE = [0.79049676, 0.75, 0.643459916, 0.628865979, 0.669278997, 0.715542522]

OWN = [words(text) for text in CAPTIONS]
TOLD = [[words(text) for text in several] for several in REFERENCES]


def test_as_the_official_code():
    assert cider_d(OWN, TOLD) == pytest.approx(OFFICIAL_CIDER, abs=1e-8)
    assert bleu(bleu_counts(OWN, TOLD).sum(0)) == pytest.approx(OFFICIAL_BLEU, abs=1e-8)
    assert rouge_l(OWN, TOLD) == pytest.approx(OFFICIAL_ROUGE, abs=1e-8)


def test_all_figures_at_once():
    found = evaluate_captions([text.capitalize() + " ." for text in CAPTIONS], REFERENCES)
    assert found["cider_d"]["value"] == pytest.approx(np.mean(OFFICIAL_CIDER), abs=1e-8)
    assert [found[f"bleu_{n}"]["value"] for n in range(1, 5)] == pytest.approx(OFFICIAL_BLEU, abs=1e-8)
    assert found["rouge_l"]["value"] == pytest.approx(np.mean(OFFICIAL_ROUGE), abs=1e-8)
    assert (found["samples"], found["groups"]) == (6, 6)
    for name in ("cider_d", "bleu_4", "rouge_l"):
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    together = evaluate_captions(CAPTIONS, REFERENCES, ["one"] * 6)["bleu_2"]
    assert together["low"] == together["high"] == pytest.approx(OFFICIAL_BLEU[1], abs=1e-8)


@pytest.mark.parametrize(
    ("sentence", "cut"),
    [
        ("A man's dog, two cats' toys.", "a man 's dog two cats toys"),
        ("It isn't T-shirt weather; they'll \"wait\"!", "it is n't t-shirt weather they 'll wait"),
        ("Don’t run -- stop...", "do n't run stop"),
        ("", ""),
    ],
)
def test_words(sentence, cut):
    assert " ".join(words(sentence)) == cut


def test_captions_without_words_or_matches():
    assert cider_d([(), ("x",)], [[("a",)], [("b",)]]).tolist() == [0.0, 0.0]
    assert rouge_l([()], [[("a",)]]).tolist() == [0.0]
    assert bleu(bleu_counts([("x",)], [[("a", "b")]]).sum(0)).tolist() == [0.0] * 4
    assert bleu(bleu_counts([()], [[("a",)]]).sum(0)).tolist() == [0.0] * 4
    with pytest.raises(DataError, match="no images to measure captions of"):
        evaluate_captions([], [])
    with pytest.raises(DataError, match="has no reference"):
        evaluate_captions(["a"], [[]])
