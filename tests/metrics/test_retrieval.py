from __future__ import annotations

import numpy as np
import pytest

from acclimate.errors import DataError
from acclimate.metrics import evaluate_retrieval


def plain(similarities, owners, cutoff):
    """Recall in both directions, by sorting."""
    images = range(len(similarities))
    to_text = np.mean([any(owners[j] == i for j in np.argsort(-similarities[i])[:cutoff]) for i in images])
    to_image = np.mean([owners[j] in np.argsort(-similarities[:, j])[:cutoff] for j in range(len(owners))])
    return to_text, to_image


def test_against_sorting():
    random = np.random.default_rng(0)
    owners = np.sort(np.concatenate([np.arange(30), random.integers(30, size=45)]))
    similarities = random.normal(size=(30, 75)) + 1.5 * (owners[None] == np.arange(30)[:, None])
    found = evaluate_retrieval(similarities, owners)
    assert (found["images"], found["captions"], found["groups"]) == (30, 75, 30)
    for cutoff in (1, 5, 10):
        to_text, to_image = plain(similarities, owners, cutoff)
        assert found["image_to_text"][f"recall@{cutoff}"]["value"] == pytest.approx(to_text)
        assert found["text_to_image"][f"recall@{cutoff}"]["value"] == pytest.approx(to_image)


def test_equal_answers_stand_before_the_right_one():
    found = evaluate_retrieval(np.zeros((3, 3)), [0, 1, 2])
    assert found["image_to_text"]["recall@1"]["value"] == 0
    assert found["text_to_image"]["recall@1"]["value"] == 0
    assert found["image_to_text"]["recall@5"]["value"] == 1


def test_intervals_are_over_groups():
    random = np.random.default_rng(1)
    hit = random.random(200) < 0.4
    similarities = np.where(hit, 1.0, -1.0)[:, None] * np.eye(200)
    alone = evaluate_retrieval(similarities, np.arange(200))["image_to_text"]["recall@1"]
    spread = (0.4 * 0.6 / 200) ** 0.5
    assert alone["high"] - alone["low"] == pytest.approx(2 * 1.96 * spread, rel=0.15)
    groups = [f"g{number // 50}" for number in range(200)]  # four groups: less is known
    grouped = evaluate_retrieval(np.sort(hit)[:, None] * np.eye(200) * 2 - 1, np.arange(200), groups)
    wide = grouped["image_to_text"]["recall@1"]
    assert wide["high"] - wide["low"] > 2 * (alone["high"] - alone["low"])
    assert evaluate_retrieval(similarities, np.arange(200))["image_to_text"]["recall@1"] == alone


def test_what_does_not_fit():
    with pytest.raises(DataError, match="no images to measure retrieval on"):
        evaluate_retrieval(np.zeros((0, 0)), [])
    with pytest.raises(ValueError, match="every image needs a caption"):
        evaluate_retrieval(np.zeros((2, 2)), [0, 0])
    with pytest.raises(ValueError, match="similarities"):
        evaluate_retrieval(np.zeros((2, 2)), [0, 0, 1])
