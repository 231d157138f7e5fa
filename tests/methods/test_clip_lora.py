from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from acclimate.backbones import LowRank
from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts
from acclimate.methods.clip_lora import CLIPLoRA, CLIPLoRAConfig
from acclimate.prompts import PromptSet
from tests.helpers.methods import CLASSES, LONG, UNSEEN, learn, make, text_runs, whole
from tests.helpers.tensors import close

PLAIN_NAMES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "out_proj"}


def stir(method, scale=0.3):
    """Give every B numbers, so that the changes change something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for b in method.b.values():
            b.normal_(std=scale)
    return method


def merged_logits(world, method, batch, state):
    """Logits of transformers' own model with the changes added to its weights, texts at full length."""
    config, model = method.config, world.plain
    scale = config.alpha / (config.rank**0.5 if config.rank_stabilised else config.rank)
    weights = {}
    for key, a in state.items():
        if not key.startswith("a."):
            continue
        tower, name = key.removeprefix("a.").split("_")
        for number, layer in enumerate(method.changed[tower]):
            place = f"{tower}_model.encoder.layers.{layer}.self_attn.{PLAIN_NAMES[name]}.weight"
            change = scale * state["b." + key.removeprefix("a.")][number] @ a[number]
            weights[place] = model.get_parameter(place) + change
    texts = PromptSet("natural").sentences(method.class_names)
    length = world.backbone.context_length
    ids = world.backbone.tokenizer.tokenizer(texts, padding="max_length", max_length=length)["input_ids"]
    inputs = {"input_ids": torch.tensor(ids), "pixel_values": batch.pixels}
    return torch.func.functional_call(model, weights, kwargs=inputs).logits_per_image


SETTINGS = [
    {},
    {"rank": 3, "alpha": 2.0, "rank_stabilised": False, "projections": "v,out", "layers": "up"},
    {"towers": "text", "layers": "half-up"},
    {"towers": "vision", "projections": "q, k ,out", "layers": "bottom"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_loss_and_gradient_equal_merged_weights(world, settings):
    method = stir(make(world, "clip-lora", LONG, dropout=0.0, **settings))
    batch = whole(world.train)
    state = {name: tensor.detach().clone().requires_grad_() for name, tensor in method.named_parameters()}
    expected = merged_logits(world, method, batch, state)
    close(method.logits(batch), expected, 5e-5)
    loss = method.loss(batch)["cross_entropy"]
    close(loss, F.cross_entropy(expected, batch.labels))
    ours = torch.autograd.grad(loss, list(method.parameters()))
    theirs = torch.autograd.grad(F.cross_entropy(expected, batch.labels), list(state.values()))
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other, 1e-4)
        assert other.abs().max() > 1e-5


def test_it_starts_from_zero_shot(world):
    method = make(world, "clip-lora", LONG).eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), make(world, "zero-shot", LONG).eval().logits(whole(world.test)))
        loss = method.train().loss(whole(world.train))["cross_entropy"]  # what is dropped is multiplied by zero
        close(loss, F.cross_entropy(method.eval().logits(whole(world.train)), whole(world.train).labels))


def test_alpha_zero_is_zero_shot(world):
    method = stir(make(world, "clip-lora", alpha=0.0)).eval()
    with torch.no_grad():
        close(method.logits(whole(world.test)), make(world, "zero-shot").eval().logits(whole(world.test)))


def test_gradients_reach_all_changes_and_nothing_else(world):
    method = make(world, "clip-lora")
    method.loss(whole(world.train))["cross_entropy"].backward()
    assert all(b.grad.flatten(1).abs().amax(1).min() > 0 for b in method.b.values())
    assert not any(a.grad.any() for a in method.a.values())  # as long as B is zero
    stir(method).zero_grad()
    method.loss(whole(world.train))["cross_entropy"].backward()
    assert all(a.grad.flatten(1).abs().amax(1).min() > 0 for a in method.a.values())
    (stage,) = method.stages(TrainingFacts(18, 6))
    assert {id(parameter) for parameter in stage.parameters} == {id(parameter) for parameter in method.parameters()}
    model = world.backbone.model
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())


def test_number_of_learned_parameters(world):
    backbone = world.backbone
    layers = backbone.text_layers * backbone.text_width + backbone.vision_layers * backbone.vision_width
    assert make(world, "clip-lora").learned_parameters() == 3 * 2 * 2 * layers
    assert make(world, "clip-lora", rank=4, projections="q,out").learned_parameters() == 2 * 2 * 4 * layers
    text = make(world, "clip-lora", towers="text", layers="up")
    assert text.learned_parameters() == 3 * 2 * 2 * backbone.text_width  # one layer of three
    assert {key.split(".")[1].split("_")[0] for key in text.learned_state()} == {"text"}


def test_the_published_count_at_vit_b_16():
    sizes = {"text_width": 512, "text_layers": 12, "vision_width": 768, "vision_layers": 12, "device": "cpu"}
    backbone = SimpleNamespace(**sizes, tokenize=list, kind="dual", name="x")
    for settings, expected in (({}, 184_320), ({"layers": "mid"}, 61_440), ({"towers": "vision"}, 110_592)):
        method = CLIPLoRA(backbone, CLIPLoRAConfig(**settings), PromptSet("natural"))
        method.build()
        assert method.learned_parameters() == expected


def test_initial_values(world):
    method = make(world, "clip-lora")
    assert not any(b.any() for b in method.b.values())
    width = world.backbone.vision_width
    reference = torch.nn.init.kaiming_uniform_(torch.empty(4000, width), a=math.sqrt(5))
    a = torch.cat([method.a[f"vision_{name}"].detach().flatten() for name in "qkv"])
    assert a.abs().max() <= width**-0.5
    assert float(a.std()) == pytest.approx(float(reference.std()), rel=0.05)
    assert abs(float(a.mean())) < 0.01


def test_parts_of_a_tower():
    def changed(depth, part):
        backbone = SimpleNamespace(text_width=8, text_layers=depth, device="cpu", kind="dual", name="x")
        method = CLIPLoRA(backbone, CLIPLoRAConfig(towers="text", layers=part), PromptSet("natural"))
        method.build()
        return list(method.changed["text"])

    assert changed(12, "all") == list(range(12))
    assert [changed(12, part) for part in ("bottom", "mid", "up")] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert changed(12, "half-bottom") + changed(12, "half-up") == list(range(12))
    assert changed(24, "up") == list(range(16, 24))
    assert changed(7, "bottom") + changed(7, "mid") + changed(7, "up") == list(range(7))
    with pytest.raises(ConfigError, match=r"layers=bottom: the text tower has only 1 layer.*use layers=all"):
        changed(1, "bottom")


def test_dropout_of_a_change():
    torch.manual_seed(0)
    delta = LowRank(torch.randn(2, 8), torch.randn(5, 2), scale=0.5, dropout=0.25)
    x = torch.randn(40, 8)
    torch.manual_seed(1)
    dropped = delta(x)
    torch.manual_seed(1)
    keep = F.dropout(torch.ones(40, 8), 0.25)
    close(dropped, 0.5 * (keep * x) @ delta.a.T @ delta.b.T)
    assert keep.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert float((keep == 0).float().mean()) == pytest.approx(0.25, abs=0.1)


def test_inputs_are_dropped_in_training_only(world):
    method = stir(make(world, "clip-lora"))
    batch = whole(world.train)

    def loss(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return float(method.loss(batch)["cross_entropy"])

    method.train()
    assert loss(1) == loss(1)
    assert loss(1) != loss(2)
    method.eval()
    assert loss(1) == loss(2)


def test_frozen_text_is_encoded_once(world):
    method = make(world, "clip-lora", towers="vision", epochs=2)
    runs, stop = text_runs(world)
    learn(world, method, TrainingFacts(18, 6))
    stop()
    assert not runs
    method.bind(UNSEEN)
    assert method.logits(whole(world.test)).shape[1] == len(UNSEEN)


def test_published_number_of_epochs(world):
    def epochs(images, shots, **settings):
        return make(world, "clip-lora", **settings).stages(TrainingFacts(images, shots))[0].epochs

    assert epochs(160, 16) == 1600  # 10 classes: 5 steps an epoch, 8000 steps
    assert epochs(16_000, 16) == 16
    assert epochs(30, 1) == 500
    assert epochs(100, 1) == 125
    assert epochs(96, 1) == 167  # 500 steps are no whole number of epochs of 3
    assert epochs(160, 16, batch_size=8) == 400
    assert epochs(160, 16, epochs=3) == 3


def test_published_recipe():
    config = CLIPLoRAConfig()
    assert (config.rank, config.alpha, config.dropout, config.matrices) == (2, 1.0, 0.25, ("q", "k", "v"))
    assert config.scale == pytest.approx(2**-0.5)
    assert CLIPLoRAConfig(rank_stabilised=False).scale == 0.5
    assert (config.optimizer, config.momentum, config.weight_decay, config.batch_size) == ("adamw", 0.9, 0.01, 32)
    assert config.learning_rate(0, 100) == 2e-4
    assert config.learning_rate(50, 100) == pytest.approx(1e-4)
    assert config.learning_rate(99, 100) < 1e-6
    assert config.augment == "auto"


@pytest.mark.parametrize("projections", ["", "q,w", "fc1", "qkv"])
def test_unknown_matrices(projections):
    with pytest.raises(ConfigError, match="give some of q, k, v, out, such as q,k,v"):
        CLIPLoRAConfig(projections=projections)


@pytest.mark.one_family
def test_it_learns(world):
    method = make(world, "clip-lora", epochs=15, lr=0.01, batch_size=8)
    lines = learn(world, method, TrainingFacts(18, 6))
    assert lines[-1]["cross_entropy"] < 0.5 * lines[0]["cross_entropy"]
    with torch.no_grad():
        accuracy = (method.logits(whole(world.train)).argmax(-1) == whole(world.train).labels).float().mean()
    assert accuracy > 0.8
    assert method.class_names == CLASSES
