from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts, get_method
from acclimate.methods.parts.deep_prompts import DeepPromptClassifier, DeepPromptRecipe
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from tests.helpers.methods import CLASSES, UNSEEN, learn, make, whole
from tests.helpers.tensors import close

LEARNED = {"vpt": ["vision"], "ivlp": ["text", "vision"], "maple": ["text", "couplings.0.weight", "couplings.0.bias"]}


class Bare(DeepPromptClassifier):
    """No prompts at all."""

    name = "test-bare"

    def make_prompts(self):
        pass


def bare(world, prompts=None):
    method = Bare(world.backbone, DeepPromptRecipe(), prompts or PromptSet("natural"))
    method.bind(CLASSES)
    return method.eval()


def test_without_prompts_it_is_zero_shot(world):
    prompts = PromptSet("satellite")
    with torch.no_grad():
        expected = make(world, "zero-shot", prompts=prompts).eval().logits(whole(world.test))
        close(bare(world, prompts).logits(whole(world.test)), expected)


def test_nothing_to_learn_is_no_stage(world):
    assert list(bare(world).stages(TrainingFacts(9, 3))) == []


def test_an_image_may_have_prompts_of_its_own(world):
    method, pixels = bare(world), whole(world.test).pixels[:3]
    prompts = torch.randn(2, 3, 4, world.backbone.vision_width)
    each = [method.encode_images(pixels[i : i + 1], list(prompts[:, i]))[0] for i in range(3)]
    close(method.encode_images(pixels, list(prompts)), torch.stack(each))


@pytest.mark.parametrize("name", LEARNED)
def test_a_published_depth_is_cut_to_the_tower(world, caplog, name):
    with caplog.at_level(logging.INFO, "acclimate.methods"):
        method = make(world, name)
    layers = world.backbone.vision_layers
    assert len(method.vision_prompts()) == layers == 3
    tower = "text" if name == "ivlp" else "vision"
    assert any(f"is cut to the 3 layers of the {tower} tower" in line for line in caplog.messages)


@pytest.mark.parametrize("name", LEARNED)
def test_recipe(world, name):
    method = make(world, name)
    config, rate = method.config, 0.0025 if name == "vpt" else 0.0035
    assert (config.lr, config.batch_size, config.augment, config.optimizer) == (rate, 4, "auto", "sgd")
    assert (config.warmup_epochs, config.warmup_lr) == (1, 1e-5)
    assert [method.stages(TrainingFacts(9, shots))[0].epochs for shots in (1, 16)] == [5, 5]
    assert make(world, name, epochs=7).stages(TrainingFacts(9, 3))[0].epochs == 7


@pytest.mark.parametrize("name", LEARNED)
def test_gradients_reach_all_that_is_learned(world, name):
    method = make(world, name)
    (stage,) = method.stages(TrainingFacts(9, 3))
    assert {id(parameter) for parameter in stage.parameters} == {id(parameter) for parameter in method.parameters()}
    assert list(method.learned_state()) == [key for key, _ in method.named_parameters()]
    assert list(method.learned_state())[: len(LEARNED[name])] == LEARNED[name]
    method.loss(whole(world.train))["cross_entropy"].backward()
    for key, parameter in method.named_parameters():
        assert parameter.grad.abs().flatten(1).amax(1).min() > 0 if parameter.ndim > 2 else parameter.grad.any(), key


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_learning(world, name):
    lines = learn(world, make(world, name, epochs=15, lr=0.02), TrainingFacts(18, 6))
    assert lines[-1]["cross_entropy"] < 0.95 * lines[0]["cross_entropy"]


@pytest.mark.parametrize("name", ["ivlp", "maple"])
def test_starting_words(world, name):
    embed = world.backbone.word_embeddings
    prompts = PromptSet("natural", template="large dog of the {}.")
    method = make(world, name)
    assert torch.equal(method.text[0], embed("a photo"))
    assert method.remainder == tuple(world.backbone.tokenizer.plain("of a"))
    assert torch.equal(make(world, name, prompts=prompts, context_init="template").text[0], embed("large dog"))
    method = make(world, name, context_init=None)
    assert not torch.allclose(method.text[0], embed("a photo"), atol=0.1)
    assert method.remainder == ()
    assert method.names.names == world.backbone.class_tokens(CLASSES).names


@pytest.mark.parametrize("name", ["ivlp", "maple"])
def test_too_few_starting_words(world, name):
    tokens = {"text_tokens" if name == "ivlp" else "prompt_tokens": 3}
    with pytest.raises(ConfigError, match="'photo' has 1 tokens and 3 are to be learned; give more words"):
        make(world, name, context_init="photo", **tokens)
    assert make(world, name, context_init=None, **tokens).text.shape[1] == 3
    template = PromptSet("natural", template="{} in a photo")
    assert make(world, name, prompts=template, context_init="template", **tokens).remainder == ()


@pytest.mark.parametrize("name", LEARNED)
def test_the_start_is_small_noise(name):
    sizes = {"text_width": 512, "vision_width": 768, "text_layers": 12, "vision_layers": 12, "device": "cpu"}
    method = published(name, sizes)
    for prompts in (getattr(method, key).detach() for key in ("text", "vision") if hasattr(method, key)):
        assert abs(float(prompts.mean())) < 1e-3
        assert float(prompts.std()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("name", "count"), [("vpt", 73_728), ("ivlp", 30_720), ("maple", 3_555_072)])
def test_number_of_learned_parameters_on_vit_b_16(name, count):
    """MaPLe's paper gives 3.55 M; VPT has 12 x 8 x 768 and IVLP 12 x 2 x (512 + 768)."""
    sizes = {"text_width": 512, "vision_width": 768, "text_layers": 12, "vision_layers": 12, "device": "cpu"}
    assert published(name, sizes).learned_parameters() == count


def published(name, sizes):
    """A method with published sizes on towers of given ones; making prompts needs no weights."""
    kind = get_method(name)
    settings = {} if name == "vpt" else {"context_init": None}
    method = kind(
        SimpleNamespace(**sizes, kind="dual", name="x"), make_config(kind.Config, settings), PromptSet("natural")
    )
    method.make()
    return method


@pytest.mark.parametrize("name", LEARNED)
def test_unseen_classes_get_the_same_prompts(world, name):
    """Binding other classes encodes them with what was learned, and forgets what was kept of the old ones."""
    method = make(world, name).eval()
    with torch.no_grad():
        method.logits(whole(world.test))
        method.bind(UNSEEN)
        fresh = make(world, name, UNSEEN, seed=5)
        fresh.load_learned_state(method.learned_state())
        close(method.logits(whole(world.test)), fresh.eval().logits(whole(world.test)))
