from __future__ import annotations

import torch
from torch.nn import functional as F

from acclimate.prompts import PromptSet
from acclimate.prompts.references import compose_reference_prompts
from tests.helpers.methods import CLASSES, FACTS, learn, make, whole
from tests.helpers.tensors import close


def test_directions_are_means_of_the_sentences(world):
    method = make(world, "cupl")
    learn(world, method, FACTS)
    told = compose_reference_prompts(CLASSES, PromptSet("natural")).of(CLASSES)
    for direction, sentences in zip(method.class_weights(), told, strict=True):
        features = F.normalize(world.backbone.encode_text(list(sentences)), dim=-1)
        close(direction, F.normalize(features.mean(dim=0), dim=-1))


def test_with_the_template(world):
    method = make(world, "cupl", template=True)
    learn(world, method, FACTS)
    told = compose_reference_prompts(CLASSES, PromptSet("natural")).of(CLASSES)
    for direction, sentences, own in zip(
        method.class_weights(), told, PromptSet("natural").sentences(CLASSES), strict=True
    ):
        features = F.normalize(world.backbone.encode_text([*sentences, own]), dim=-1)
        close(direction, F.normalize(features.mean(dim=0), dim=-1))


def test_a_class_without_images_keeps_its_template(world):
    class Some:
        labels = world.train.labels[world.train.labels != 1]
        rows = (world.train.labels != 1).nonzero()[:, 0]

        def __len__(self):
            return len(self.rows)

        def batch(self, index, epoch=None):
            return world.train.batch(self.rows[index], epoch)

    method = make(world, "cupl")
    before = method.directions.clone()
    figures = method.stages(FACTS)[0].solve(Some(), None)
    assert torch.equal(method.directions[1], before[1])
    assert not torch.equal(method.directions[0], before[0])
    assert figures == {"prompts": 2.0 * len(compose_reference_prompts(CLASSES, PromptSet("natural")).of(CLASSES)[0])}


def test_prediction_needs_no_prompts(world):
    method = make(world, "cupl")
    learn(world, method, FACTS)
    bare = whole(world.test).without("reference_prompts", "reference_mask")
    scale, bias = world.backbone.logit_scale, world.backbone.logit_bias
    expected = scale * F.normalize(bare.image_features, dim=-1) @ method.directions.T + bias
    close(method.logits(bare), expected, 1e-4)
