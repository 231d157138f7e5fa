from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts, get_method
from acclimate.methods.clip_adapter import CLIPAdapterConfig
from tests.helpers.methods import CLASSES, FACTS, learn, make, whole
from tests.helpers.plain_prompts import class_direction
from tests.helpers.tensors import close


def plain_logits(world, method, batch, down, up):
    """Logits the plain way: full-length text through transformers' own layers, one image at a time."""
    model, alpha = world.plain, method.config.ratio
    classes = [class_direction(world, sentence, None) for sentence in method.prompts.sentences(CLASSES)]
    rows = []
    for x in batch.image_features:
        adapted = (up @ (down @ x).clamp(min=0)).clamp(min=0)
        mixed = alpha * adapted + (1 - alpha) * x
        rows.append(model.logit_scale.exp() * torch.stack([F.cosine_similarity(mixed, w, dim=0) for w in classes]))
    logits = torch.stack(rows)
    return logits + model.logit_bias if hasattr(model, "logit_bias") else logits


@pytest.mark.parametrize("ratio", [0.2, 0.7])
def test_loss_and_gradients_equal_the_equation(world, ratio):
    method, batch = make(world, "clip-adapter", ratio=ratio), whole(world.train)
    weights = [method.down.weight, method.up.weight]
    theirs = [weight.detach().clone().requires_grad_() for weight in weights]
    expected = plain_logits(world, method, batch, *theirs)
    close(method.logits(batch), expected, 1e-4)
    loss, reference = method.loss(batch)["cross_entropy"], F.cross_entropy(expected, batch.labels)
    close(loss, reference, 1e-4)
    for ours, other in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(reference, theirs), strict=True):
        close(ours, other, 1e-4)
        assert other.abs().max() > 1e-4


def test_ratio_zero_is_zero_shot(world):
    batch = whole(world.test)
    close(make(world, "clip-adapter", ratio=0.0).logits(batch), make(world, "zero-shot").logits(batch))


def test_the_scale_of_the_features_does_not_matter(world):
    method, batch = make(world, "clip-adapter"), whole(world.test)
    larger = type(batch)(image_features=7.0 * batch.image_features)
    close(method.logits(larger), method.logits(batch), 1e-4)


def test_only_the_bottleneck_is_learned(world):
    method, width = make(world, "clip-adapter"), world.backbone.embed_dim
    shapes = {name: tuple(tensor.shape) for name, tensor in method.learned_state().items()}
    assert shapes == {"down.weight": (width // 4, width), "up.weight": (width, width // 4)}
    assert method.learned_parameters() == width**2 // 2  # E = 512, as in ViT-B/16: 131,072
    assert make(world, "clip-adapter", reduction=2).learned_parameters() == width**2
    (stage,) = method.stages(FACTS)
    assert {id(parameter) for parameter in stage.parameters} == {id(parameter) for parameter in method.parameters()}


def test_published_recipe(world):
    def epochs(shots, **settings):
        return make(world, "clip-adapter", **settings).stages(TrainingFacts(9, shots))[0].epochs

    assert [epochs(shots) for shots in (1, 2, 4, 8, 16)] == [50, 100, 100, 200, 200]
    assert epochs(16, epochs=7) == 7
    config = get_method("clip-adapter").Config()
    assert (config.ratio, config.reduction, config.optimizer, config.lr, config.batch_size) == (0.2, 4, "sgd", 2e-3, 32)


@pytest.mark.one_family
def test_training_lowers_the_loss(world):
    settings = {"ratio": 0.8, "optimizer": "adamw", "lr": 0.02, "epochs": 60}
    method, batch = make(world, "clip-adapter", **settings), whole(world.train)
    before = float(method.loss(batch)["cross_entropy"].detach())
    learn(world, method, FACTS)
    assert float(method.loss(batch)["cross_entropy"].detach()) < before - 0.05


def test_settings_out_of_range(world):
    with pytest.raises(ConfigError, match="ratio"):
        CLIPAdapterConfig(ratio=1.5)
    with pytest.raises(ConfigError, match="reduction=1000 leaves nothing"):
        make(world, "clip-adapter", reduction=1000)
