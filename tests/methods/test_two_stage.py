from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts
from acclimate.methods.two_stage import TwoStage, TwoStageConfig
from acclimate.prompts import PromptSet
from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.devices import make_accelerator
from acclimate.training.feeds import FeatureFeed
from acclimate.training.fit import fit
from tests.helpers.learner import Interrupted, StopAt, context
from tests.helpers.methods import (
    CLASSES,
    FACTS,
    LONG,
    UNSEEN,
    descend,
    learn,
    make,
    stages_of,
    whole,
    zero_shot,
)
from tests.helpers.tensors import close

QUICK = {"epochs": 4, "lr": 0.02, "batch_size": 8}
PLAIN_NAMES = ("layer_norm1", "layer_norm2")


def stir(method, scale=0.3):
    """Change every norm."""
    torch.manual_seed(5)
    with torch.no_grad():
        for norms in method.norms.values():
            norms.normal_(std=scale)
    return method


def plain_features(world, method, batch, state):
    """Unit features of images and sentences by transformers' own model with the changes added to its norms."""
    model, weights = world.plain, {}
    for tower, changes in state.items():
        for layer, norms in enumerate(changes):
            for name, own in zip(PLAIN_NAMES, norms, strict=True):
                place = f"{tower}_model.encoder.layers.{layer}.{name}"
                for kind, change in zip(("weight", "bias"), own, strict=True):
                    weights[f"{place}.{kind}"] = model.get_parameter(f"{place}.{kind}") + change
    texts = PromptSet("natural").sentences(method.class_names)
    length = world.backbone.context_length
    ids = world.backbone.tokenizer.tokenizer(texts, padding="max_length", max_length=length)["input_ids"]
    inputs = {"input_ids": torch.tensor(ids), "pixel_values": batch.pixels}
    found = torch.func.functional_call(model, weights, kwargs=inputs)
    return found.image_embeds, found.text_embeds  # unit length


def only_some(world, missing):
    """The same world, without training images of one class."""
    batch = whole(world.train)
    kept = batch.labels != missing
    train = FeatureFeed(batch.pixels[kept], batch.labels[kept], kind="pixels")
    return type(world)(**{**vars(world), "train": train})


@pytest.mark.parametrize("classes", [CLASSES, LONG])
def test_loss_and_gradient_of_the_first_stage_equal_changed_norms(world, classes):
    method, batch = stir(make(world, "2sfs", classes)), whole(world.train)
    state = {name: norms.detach().clone().requires_grad_() for name, norms in method.norms.items()}
    images, texts = plain_features(world, method, batch, state)
    expected = F.cross_entropy(world.backbone.logit_scale * images @ texts.T, batch.labels)
    loss = method.loss(batch)["cross_entropy"]
    close(loss, expected, 1e-4)
    ours = torch.autograd.grad(loss, list(method.norms.values()))
    theirs = torch.autograd.grad(expected, [state[name] for name in method.norms])
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other, 1e-3)
        assert other.flatten(2).abs().amax(-1).min() > 1e-6  # every norm of every layer


def test_loss_and_gradient_of_the_second_stage_equal_plain_code(world):
    method, batch = stir(make(world, "2sfs")), whole(world.train)
    with torch.no_grad():
        method.weight.normal_()
        images, _ = plain_features(world, method, batch, dict(method.norms.items()))
    weight = method.weight.detach().clone().requires_grad_()
    cosines = images @ (weight / weight.norm(dim=-1, keepdim=True)).T
    expected = F.cross_entropy(world.backbone.logit_scale * cosines, batch.labels)
    loss = method.classifier_loss(batch)["cross_entropy"]
    close(loss, expected, 1e-4)
    close(torch.autograd.grad(loss, method.weight)[0], torch.autograd.grad(expected, weight)[0], 1e-4)
    method.classifier_loss(batch)["cross_entropy"].backward()
    assert all(norms.grad is None for norms in method.norms.values())


def test_it_starts_from_zero_shot(world):
    method = make(world, "2sfs").eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), zero_shot(world))


def test_each_stage_changes_its_own(world):
    method = make(world, "2sfs", **QUICK)
    first, start, second = stages_of(method)
    descend(method, [first], world.train)
    norms = {name: tensor.clone() for name, tensor in method.norms.items()}
    assert all(tensor.flatten(3).any(-1).all() for tensor in norms.values())
    assert not method.weight.any()
    start.solve(world.train, None)
    with torch.no_grad():
        _, texts = plain_features(world, method, whole(world.train), norms)
    close(method.weight.detach(), texts, 1e-4)
    descend(method, [second], world.train)
    assert all(torch.equal(tensor, norms[name]) for name, tensor in method.norms.items())
    assert ((method.weight.detach() - texts).norm(dim=-1) > 1e-2).all()


def test_what_was_not_trained_keeps_the_direction_of_the_first_stage(world):
    small = only_some(world, missing=1)
    method = make(small, "2sfs", **QUICK)
    learn(small, method, TrainingFacts(12, 6))
    with torch.no_grad():
        images, texts = plain_features(world, method, whole(world.test), dict(method.norms.items()))
        close(method.logits(whole(world.test))[:, 1], zero_shot_of(world, images, texts)[:, 1], 1e-3)
        before = method.logits(whole(world.test))
        method.bind((UNSEEN[0], "river", UNSEEN[1]))
        images, texts = plain_features(world, method, whole(world.test), dict(method.norms.items()))
        mixed = method.logits(whole(world.test))
        close(mixed[:, [0, 2]], zero_shot_of(world, images, texts)[:, [0, 2]], 1e-3)
        close(mixed[:, 1], before[:, 2])


def zero_shot_of(world, images, texts):
    return world.backbone.logit_scale * images @ texts.T + world.backbone.logit_bias


def test_an_interrupted_run_goes_on_in_every_stage(world, tmp_path):
    def run(path, stop=None):
        method = make(world, "2sfs", **QUICK)
        progress = None if stop is None else StopAt(stop)
        made = context(make_accelerator(torch.device("cpu")), checkpoints=CheckpointFile(path), progress=progress)
        fit(method, stages_of(method), world.train, None, context=made)
        return method.learned_state()

    unbroken = run(None)
    for stop in (4, 3, 2):  # of 6 steps of the first stage, then of 6 of the second
        with pytest.raises(Interrupted):
            run(tmp_path / "state", stop)
    resumed = run(tmp_path / "state")
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_published_recipe(world):
    config = TwoStageConfig()
    assert (config.optimizer, config.lr, config.weight_decay, config.batch_size) == ("adamw", 2e-4, 0.01, 32)
    assert config.augment == "auto"
    assert config.learning_rate(0, 100) == 2e-4

    def epochs(images, shots, **settings):
        first, _, second = make(world, "2sfs", **settings).stages(TrainingFacts(images, shots))
        return first.epochs, second.epochs

    assert epochs(160, 16) == (576, 384)  # 10 classes: 5 steps an epoch, 4800 steps, 60 % of them first
    assert epochs(30, 1) == (180, 120)
    assert epochs(160, 16, first_share=0.25) == (240, 720)
    assert epochs(18, 6, epochs=2) == (1, 1)
    assert epochs(18, 6, epochs=2, first_share=0.99) == (1, 1)


def test_the_published_count_at_vit_b_16():
    sizes = {"text_width": 512, "text_layers": 12, "vision_width": 768, "vision_layers": 12, "embed_dim": 512}
    backbone = SimpleNamespace(**sizes, device="cpu", kind="dual", name="x")
    method = TwoStage(backbone, TwoStageConfig(), PromptSet("natural"))
    method.build()
    assert sum(norms.numel() for norms in method.norms.values()) == 61_440


def test_one_epoch_is_too_few():
    with pytest.raises(ConfigError, match="epochs=1"):
        TwoStageConfig(epochs=1)


@pytest.mark.one_family
def test_it_learns(world):
    method = make(world, "2sfs", epochs=10, lr=0.03, batch_size=8)
    lines = learn(world, method, FACTS)
    first = [line["cross_entropy"] for line in lines if line["stage"] == "2sfs: norms"]
    second = [line["cross_entropy"] for line in lines if line["stage"] == "2sfs: classifier"]
    assert second[-1] < 0.5 * first[0]
    with torch.no_grad():
        right = method.logits(whole(world.train)).argmax(-1) == whole(world.train).labels
    assert right.float().mean() > 0.8
