from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
import torch
from torch.nn import functional as F

import acclimate
from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts
from acclimate.methods.promptsrc import PromptSRCConfig
from acclimate.prompts import PromptSet, get_domain
from acclimate.training.devices import make_accelerator
from acclimate.training.fit import FitContext, fit
from acclimate.training.inputs import Inputs
from tests.helpers.methods import FACTS, LONG, UNSEEN, learn, make, text_runs, whole
from tests.helpers.plain_prompts import class_direction, image_direction
from tests.helpers.tensors import close

PLAIN = {"image_agreement": 0.0, "text_agreement": 0.0, "logit_agreement": 0.0, "aggregation_mean": None}


def unit(x):
    return x / x.square().sum(-1, keepdim=True).sqrt()


def frozen(world, class_names, pixels, prompts):
    """Directions of images and classes of the model as it is, sentence by sentence."""
    model, tokenizer, length = world.plain, world.backbone.tokenizer.tokenizer, world.backbone.context_length
    means = []
    for word in prompts.words(class_names):
        features = []
        for template in prompts.domain.ensemble:
            text = template.replace("{}", word)
            ids = tokenizer(text, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
            features.append(model.get_text_features(ids["input_ids"]).pooler_output[0])
        means.append(sum(features) / len(features))
    return unit(model.get_image_features(pixels).pooler_output), unit(torch.stack(means))


def reference(world, method, batch, text, vision):
    """The four terms, one image, class and entry after the other."""
    model, config = world.plain, method.config
    bias = float(getattr(model, "logit_bias", torch.zeros(())))
    scale = float(model.logit_scale.exp())
    z = torch.stack([image_direction(model, image, vision) for image in batch.pixels])
    words = method.prompts.words(method.class_names)
    w = torch.stack([class_direction(world, f"a photo of a {word}.", text) for word in words])
    z0, w0 = frozen(world, method.class_names, batch.pixels, method.prompts)
    terms = dict.fromkeys(("cross_entropy", "image_agreement", "text_agreement", "logit_agreement"), 0.0)
    count, classes, width = len(z), len(w), z.shape[1]
    for i, label in enumerate(batch.labels.tolist()):
        logits = torch.stack([scale * z[i] @ w[c] + bias for c in range(classes)])
        expected = torch.stack([scale * z0[i] @ w0[c] + bias for c in range(classes)])
        terms["cross_entropy"] += (logits.logsumexp(0) - logits[label]) / count
        terms["image_agreement"] += config.image_agreement * (z[i] - z0[i]).abs().sum() / (count * width)
        for c in range(classes):
            log_p, log_q = logits[c] - logits.logsumexp(0), expected[c] - expected.logsumexp(0)
            terms["logit_agreement"] += config.logit_agreement * log_q.exp() * (log_q - log_p) / (count * classes)
    for c in range(classes):
        terms["text_agreement"] += config.text_agreement * (w[c] - w0[c]).abs().sum() / (classes * width)
    return terms


@pytest.mark.parametrize("settings", [{}, {"text_depth": 2, "vision_depth": 1, "text_tokens": 4, "vision_tokens": 3}])
def test_every_term_and_gradient_equal_the_plain_way(world, settings):
    method = make(world, "promptsrc", LONG, image_agreement=3.0, text_agreement=5.0, logit_agreement=20.0, **settings)
    with torch.no_grad():
        method.text += 0.5 * torch.randn_like(method.text)  # far from the start, so that every layer matters
        method.vision += 0.5 * torch.randn_like(method.vision)
    batch = whole(world.train)
    text, vision = (tensor.detach().clone().requires_grad_() for tensor in (method.text, method.vision))
    expected = reference(world, method, batch, text, vision)
    found = method.loss(batch)
    assert found.keys() == expected.keys()
    for name, term in found.items():
        close(term, expected[name], 5e-5)
        assert term > 1e-3
    ours = torch.autograd.grad(sum(found.values()), [method.text, method.vision])
    theirs = torch.autograd.grad(sum(expected.values()), [text, vision])
    for mine, other in zip(ours, theirs, strict=True):
        close(mine, other, 2e-4)
        assert other.flatten(1).abs().amax(1).min() > 1e-5


@pytest.mark.one_family
def test_without_constraints_it_is_ivlp(world):
    shape = {"text_tokens": 3, "vision_tokens": 2, "text_depth": 2, "vision_depth": 3, "lr": 0.01, "epochs": 2}
    ours, theirs = make(world, "promptsrc", **PLAIN, **shape), make(world, "ivlp", **shape)
    batch = whole(world.train)
    terms = ours.loss(batch)
    close(sum(terms.values()), theirs.loss(batch)["cross_entropy"])
    assert not any(term for name, term in terms.items() if name != "cross_entropy")
    for method in (ours, theirs):  # batch order depends on the name of a stage
        (stage,) = method.stages(FACTS)
        fit(
            method,
            [replace(stage, name="same")],
            world.train,
            context=FitContext(make_accelerator(torch.device("cpu"))),
        )
    assert ours.learned_state().keys() == theirs.learned_state().keys()
    for name, tensor in ours.learned_state().items():
        close(tensor, theirs.learned_state()[name])
    with torch.no_grad():
        close(ours.eval().logits(whole(world.test)), theirs.eval().logits(whole(world.test)))


def test_frozen_features_agree_with_themselves(world):
    """Where prompts change nothing, only the cross-entropy of zero-shot is left."""
    prompts = PromptSet(replace(get_domain("natural"), ensemble=("a photo of a {}.",)), template="a photo of a {}.")
    method = make(world, "promptsrc", prompts=prompts, text_depth=1, vision_depth=0)
    terms = {name: term.detach() for name, term in method.loss(whole(world.train)).items()}
    for name in ("image_agreement", "text_agreement", "logit_agreement"):
        assert float(terms[name]) == pytest.approx(0.0, abs=1e-4)
    expected = make(world, "zero-shot", prompts=prompts).logits(whole(world.train))
    close(terms["cross_entropy"], F.cross_entropy(expected, whole(world.train).labels), 1e-4)


def test_gradients_reach_all_prompts_and_nothing_else(world):
    method = make(world, "promptsrc")
    terms = method.loss(whole(world.train))
    reach = {
        "cross_entropy": {"text", "vision"},
        "image_agreement": {"vision"},
        "text_agreement": {"text"},
        "logit_agreement": {"text", "vision"},
    }
    parameters = dict(method.named_parameters())
    for name, term in terms.items():
        gradients = torch.autograd.grad(term, list(parameters.values()), retain_graph=True, allow_unused=True)
        reached = {key for key, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
        assert reached == reach[name]
        assert all(g.flatten(1).abs().amax(1).min() > 0 for g in gradients if g is not None)
    (stage,) = method.stages(FACTS)
    assert {id(parameter) for parameter in stage.parameters} == {id(parameter) for parameter in parameters.values()}
    assert method.learned_state().keys() == parameters.keys()


def test_number_of_learned_parameters(world):
    backbone, layers = world.backbone, 3
    method = make(world, "promptsrc")
    assert method.learned_parameters() == 4 * layers * (backbone.text_width + backbone.vision_width)
    config = PromptSRCConfig()
    published = config.text_depth * config.text_tokens * 512 + config.vision_depth * config.vision_tokens * 768
    assert published == 46_080  # ViT-B/16


def test_weights_of_the_epochs_are_a_normal_density(world):
    def weights(epochs, mean, std):
        method = make(world, "promptsrc", aggregation_mean=mean, aggregation_std=std, epochs=epochs)
        (stage,) = method.stages(FACTS)
        assert stage.averaging == method.epoch_weights(epochs)
        return stage.averaging

    for epochs, mean, std in ((50, 30.0, 30.0), (20, 15.0, 1.0), (50, 45.0, 5.0), (20, 6.0, 10.0)):
        density = [NormalDist(mean, std).pdf(epoch) for epoch in range(1, epochs + 1)]
        assert weights(epochs, mean, std) == pytest.approx([share / sum(density) for share in density])
    assert weights(2, 45.0, 0.1) == pytest.approx([0.0, 1.0])  # the density itself would be zero at both
    assert make(world, "promptsrc", **PLAIN).stages(FACTS)[0].averaging is None


@pytest.mark.one_family
def test_the_mean_over_epochs_is_kept(world):
    def learned(**settings):
        method = make(world, "promptsrc", epochs=3, lr=0.05, warmup_epochs=0, **settings)
        learn(world, method, FACTS)
        return method.learned_state()["text"]

    last, sharp, wide = learned(aggregation_mean=None), learned(aggregation_mean=3.0, aggregation_std=0.01), learned()
    close(sharp, last)
    assert not torch.allclose(wide, last, atol=1e-4)


def test_an_average_has_no_best_epoch(world):
    with pytest.raises(ConfigError, match="select=best-val"):
        make(world, "promptsrc", select="best-val").stages(FACTS)
    make(world, "promptsrc", select="best-val", aggregation_mean=None).stages(FACTS)


def test_frozen_text_is_encoded_when_classes_are_bound_and_never_again(world):
    method = make(world, "promptsrc")
    before = method.anchors
    runs, stop = text_runs(world)
    method.loss(whole(world.train))
    stop()
    assert len(runs) == 1  # the prompted classes
    assert method.anchors is before
    method.bind(UNSEEN)
    assert method.anchors.shape == (len(UNSEEN), world.backbone.embed_dim)
    assert "anchors" not in method.learned_state()


def test_prediction_needs_no_frozen_features(world):
    method = make(world, "promptsrc").eval()
    assert method.inputs == Inputs({"pixels"}, training={"image_features"})
    batch = whole(world.test)
    with torch.no_grad():
        logits = method.logits(type(batch)(pixels=batch.pixels))
    assert logits.shape == (len(world.test), 3)


@pytest.mark.parametrize("augment", ["auto", "none"])
def test_training_gets_frozen_features_as_well(tiny, pictures, augment):
    settings = {"epochs": 1, "augment": augment, "lr": 0.02, "warmup_epochs": 0}
    model = acclimate.adapt(pictures, "promptsrc", tiny, shots=2, domain="natural", settings=settings)
    assert {"cross_entropy", "image_agreement", "text_agreement", "logit_agreement"} <= model.journal[0].keys()
    assert 0 <= model.record["metrics"]["accuracy"]["value"] <= 1


def test_published_recipe(world):
    config = PromptSRCConfig()
    assert (config.text_tokens, config.vision_tokens, config.text_depth, config.vision_depth) == (4, 4, 9, 9)
    assert (config.image_agreement, config.text_agreement, config.logit_agreement) == (10.0, 25.0, 1.0)
    assert (config.lr, config.batch_size, config.optimizer, config.context_init) == (0.0025, 4, "sgd", "a photo of a")
    assert (config.aggregation_mean, config.aggregation_std, config.augment) == (30.0, 30.0, "auto")
    method = make(world, "promptsrc")
    assert [method.stages(TrainingFacts(9, shots))[0].epochs for shots in (1, 4, 16)] == [50, 50, 50]


@pytest.mark.parametrize("wrong", [{"aggregation_std": 0.0}, {"text_agreement": -1.0}, {"vision_depth": -1}])
def test_options_out_of_range(wrong):
    with pytest.raises(ConfigError, match="out of range"):
        PromptSRCConfig(**wrong)


@pytest.mark.slow
def test_it_learns(world):
    method = make(world, "promptsrc", epochs=10, lr=0.02, warmup_epochs=0, image_agreement=1.0, text_agreement=1.0)
    lines = learn(world, method, FACTS)
    assert lines[-1]["cross_entropy"] < lines[0]["cross_entropy"]
