"""A method that reads pixels, written from scratch: what it takes to add one, and that nothing else has to change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import acclimate
from acclimate.methods import Classifier, get_method, list_methods, register, registry
from acclimate.options import option
from acclimate.training.inputs import Inputs
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage
from tests.helpers.runs import quick


@dataclass(frozen=True, kw_only=True)
class BrightConfig(Recipe):
    prompts: int = option(2, "prompt tokens of the image tower", low=1)


class Bright(Classifier):
    """Learns image prompts and a linear layer on what the tower then sees."""

    name = "test-bright"
    title = "Visual prompts of a test"
    learns = "prompts"
    inputs = Inputs({"pixels"})
    Config = BrightConfig

    def make(self):
        self.prompt = nn.Parameter(torch.randn(self.config.prompts, self.backbone.vision_width))
        self.head = nn.Linear(self.backbone.embed_dim, len(self.class_names))

    def logits(self, batch):
        return self.head(F.normalize(self.backbone.encode_image(batch.pixels, prompts=[self.prompt]), dim=-1))

    def stages(self, facts):
        return [GradientStage(self.name, self.config, self.config.epochs or 2, self.loss, list(self.parameters()))]


@pytest.fixture(autouse=True)
def registered():
    register(Bright)
    yield
    del registry._METHODS["test-bright"]


@pytest.mark.parametrize("augment", ["none", "crop+flip"])
@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_method_on_pixels(tmp_path, pictures, tiny_backbones, family, augment):
    assert Bright in list_methods()
    assert get_method("test-bright") is Bright
    backbone = tiny_backbones[family]
    options = {"method": "test-bright", "settings": {"augment": augment, "batch_size": 4}, "shots": 2}
    model = quick(pictures, backbone, out=tmp_path / "run", **options)
    again = quick(pictures, backbone, **options)
    assert torch.equal(model.method.prompt, again.method.prompt)
    assert model.record["cost"]["learned_parameters"] == 2 * backbone.vision_width + 3 * (backbone.embed_dim + 1)
    loaded = acclimate.load(tmp_path / "run", backbone)
    rows = loaded.predict(pictures.test.paths, batch_size=4)
    right = [row.label == label for row, label in zip(rows, pictures.test.label_names, strict=True)]
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    assert np.mean(right) == pytest.approx(model.record["metrics"]["accuracy"]["value"])
    assert all(parameter.grad is None for parameter in backbone.model.parameters())
