from __future__ import annotations

import torch
from torch.nn import functional as F

from acclimate.methods import TrainingFacts
from acclimate.prompts import PromptSet, get_domain
from tests.helpers.methods import CLASSES, make, whole
from tests.helpers.plain_heads import text_features
from tests.helpers.tensors import close


def expected_logits(world, directions):
    images = F.normalize(whole(world.test).image_features, dim=-1)
    bias = world.plain.logit_bias if hasattr(world.plain, "logit_bias") else 0.0
    return world.plain.logit_scale.exp() * images @ directions.T + bias


def test_one_template(world):
    method = make(world, "zero-shot", prompts=PromptSet("natural", {"cat": "large cat"})).eval()
    words = ["large cat", "dog", "river"]
    directions = text_features(world, [f"a photo of a {word}." for word in words])
    close(method.logits(whole(world.test)), expected_logits(world, directions), 1e-4)


def test_ensemble_averages_unit_directions(world):
    method = make(world, "zero-shot", prompts=PromptSet("satellite"), ensemble=True).eval()
    templates = get_domain("satellite").ensemble
    assert len(templates) > 2
    rows = []
    for name in CLASSES:
        each = text_features(world, [template.replace("{}", name) for template in templates])
        rows.append(F.normalize(each.mean(dim=0), dim=-1))
    close(method.logits(whole(world.test)), expected_logits(world, torch.stack(rows)), 1e-4)
    single = make(world, "zero-shot", prompts=PromptSet("satellite")).eval()
    assert not torch.allclose(single.class_weights(), method.class_weights(), atol=1e-4)


def test_there_is_nothing_to_train(world):
    method = make(world, "zero-shot")
    assert list(method.stages(TrainingFacts(9, 3))) == []
    assert method.learned_state() == {}


def test_cosines_are_not_rounded_under_autocast(world):
    method = make(world, "zero-shot").eval()
    batch = whole(world.test)
    with torch.no_grad():
        expected = method.logits(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            close(method.logits(batch), expected)
