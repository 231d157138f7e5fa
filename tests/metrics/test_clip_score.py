"""CLIPScore and RefCLIPScore beside the formulas of the paper, one caption after another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from acclimate.metrics import JUDGED, MEASURES, clip_score, evaluate_captions, ref_clip_score


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def plain(images, captions, references):
    """Hessel et al. 2021, section 3, for lists of vectors."""
    own, both = [], []
    for image, caption, several in zip(images, captions, references, strict=True):
        score = 2.5 * max(cosine(caption, image), 0.0)
        best = max(*(cosine(caption, other) for other in several), 0.0)
        own.append(score)
        both.append(2 * score * best / (score + best) if score + best else 0.0)
    return own, both


@pytest.mark.parametrize("width", [3, 20])
def test_as_the_formulas_say(width):
    rng = np.random.default_rng(width)
    images, captions = rng.normal(size=(2, 30, width))
    counts = [1 + row % 4 for row in range(30)]
    references = [rng.normal(size=(count, width)) for count in counts]
    own, both = plain(images, captions, references)
    assert 0 < sum(score == 0 for score in own) < 30
    assert clip_score(images, captions) == pytest.approx(own, abs=1e-12)
    owners = np.repeat(np.arange(30), counts)
    order = rng.permutation(len(owners))  # references in any order
    found = ref_clip_score(images, captions, np.concatenate(references)[order], owners[order])
    assert found == pytest.approx(both, abs=1e-12)


def test_they_stand_beside_the_others_with_intervals_over_groups():
    scores = np.array([1.0, 0.5, 0.0, 0.5])
    told = ["a dog", "a cat", "a bird", "a cow"], [["a dog"], ["a cat"], ["a bird"], ["a cow"]]
    found = evaluate_captions(*told, ["x", "x", "y", "y"], judged={"clip_score": scores})
    assert found["clip_score"] == {"value": 0.5, "low": 0.25, "high": 0.75}
    assert not evaluate_captions(*told).keys() & {*JUDGED}
    assert MEASURES["ref_clip_score"].show(0.812) == "81.2"
