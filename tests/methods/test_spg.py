from __future__ import annotations

import logging
import math
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts
from acclimate.methods.parts.scores import PAIRS
from acclimate.methods.spg import SPG, SPGConfig
from acclimate.methods.spg.inspection import troubles
from acclimate.methods.spg.labels import PromptLabels
from acclimate.methods.spg.networks import (
    Discriminator,
    PromptGenerator,
    PromptTransformer,
    cross_entropy,
    discriminator_limits,
    generator_limits,
    least_squares,
)
from acclimate.options import make_config
from acclimate.training.feeds import FeatureFeed
from acclimate.training.stages import AlternatingStage
from tests.helpers import plain
from tests.helpers.methods import DOMAINS, LONG, count, descend, learn, make, some, stages_of, text_runs, whole
from tests.helpers.tensors import close

FACTS = TrainingFacts(images=18, shots=6, domains=2)
QUICK = {"epochs": 2, "lr": 1e-3, "warmup_epochs": 0}
GENERATORS = ("gan", "mean", "mixture", "regression", "transformer")


@pytest.mark.parametrize(
    ("features", "generator", "discriminator"), [(1024, 2936704, 2099201), (512, 2871168, 1837057)]
)
def test_published_sizes(features, generator, discriminator):
    made = PromptGenerator(100 + features, 4 * 512, epsilon=0.8, bounded=True)
    assert count(*made.parameters()) == generator
    assert count(*Discriminator(4 * 512 + features).parameters()) == discriminator
    assert made(torch.randn(3, 100 + features)).shape == (3, 2048)
    assert [layer.eps for layer in made if isinstance(layer, nn.BatchNorm1d)] == [0.8] * 3


def test_starting_values():
    for network in (PromptGenerator(612, 2048), Discriminator(2560)):
        for layer in network:
            if isinstance(layer, nn.Linear):
                bound, weight = math.sqrt(6 / layer.in_features), layer.weight.detach()
                assert 0.95 * bound < weight.abs().max() <= bound
                assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_published_learning_rates():
    config = make_config(SPGConfig, {"variant": "released"})
    rates = [config.learning_rate(epoch, 70) for epoch in range(70)]
    assert rates[:5] == pytest.approx([1e-5, 5e-4, 1e-3, 1.5e-3, 2e-3])
    assert rates[69] == pytest.approx(2.5e-5, rel=0.02)
    assert (config.weight_decay, config.batch_size, config.optimizer) == (1e-4, 32, "adamw")


@pytest.mark.parametrize(
    ("profile", "limits"),
    [
        ("released", (5.0, 5e-2, 5e-1, 5e-3, 1.0, 5e-8)),
        ("pacs", (5.0, 5e-1, 5e-1, 5e-2, 5.0, 5e-7)),
        ("off", (None,) * 6),
    ],
)
def test_every_tensor_has_its_own_limit(profile, limits):
    ends, weights, biases, made, last, others = limits
    generator, discriminator = PromptGenerator(20, 16), Discriminator(30)
    found = dict(zip(dict(generator.named_parameters()), generator_limits(generator, profile), strict=True))
    assert found == {
        "0.weight": made, "0.bias": others, "2.weight": made, "2.bias": others, "3.weight": made, "3.bias": others,
        "5.weight": made, "5.bias": others, "6.weight": made, "6.bias": others, "8.weight": made, "8.bias": others,
        "9.weight": made, "9.bias": last, "11.weight": made, "11.bias": last,
    }  # fmt: skip
    found = dict(zip(dict(discriminator.named_parameters()), discriminator_limits(discriminator, profile), strict=True))
    assert found == {
        "0.weight": ends, "0.bias": ends, "2.weight": weights, "2.bias": biases, "5.weight": weights, "5.bias": biases,
        "8.weight": ends, "8.bias": ends,
    }  # fmt: skip


def test_losses_by_hand():
    verdicts = torch.tensor([[0.5], [2.0], [-1.0]])
    assert float(least_squares(verdicts, True)) == pytest.approx((0.25 + 1 + 4) / 3)
    assert float(least_squares(verdicts, False)) == pytest.approx((0.25 + 4 + 1) / 3)
    soft = [math.log1p(math.exp(-value)) for value in (0.5, 2.0, -1.0)]
    assert float(cross_entropy(verdicts, True)) == pytest.approx(sum(soft) / 3)
    soft = [math.log1p(math.exp(value)) for value in (0.5, 2.0, -1.0)]
    assert float(cross_entropy(verdicts, False)) == pytest.approx(sum(soft) / 3)


def test_labels_are_seen_with_mean_0_and_variance_1():
    values = 0.03 * torch.randn(3, 4, 8) + torch.randn(4, 8)
    labels = PromptLabels(values, "standardised")
    close(labels.units.mean(dim=0), torch.zeros(32), 1e-4)
    assert labels.units.square().mean() == pytest.approx(1, rel=1e-4)
    close(labels.prompts(labels.units), values)
    raw = PromptLabels(values, "raw")
    close(raw.units, values.flatten(1))
    close(raw.prompts(raw.units), values)


def test_a_single_label_is_what_zero_stands_for():
    value = torch.randn(1, 4, 8)
    labels = PromptLabels(value, "standardised")
    close(labels.prompts(torch.zeros(2, 32)), value.expand(2, -1, -1))


@pytest.mark.parametrize("scale", ["standardised", "raw"])
@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("fake_batch", ["independent", "same"])
def test_the_turns_equal_their_formulas(world, scale, balanced, fake_batch):
    method = make(world, "spg", labels=scale, balanced=balanced, fake_batch=fake_batch)
    source = method.source
    (stage, _) = stages_of(method)
    assert isinstance(stage, AlternatingStage)
    assert stage.batches == (2 if fake_batch == "independent" else 1)
    batches = [some(world.train, 5), world.train.batch(torch.tensor([1, 4, 7, 9, 11]))][: stage.batches]
    method.train()
    torch.manual_seed(3)
    judged = stage.turns[0].loss(*batches)
    forged = stage.turns[1].loss(*batches)

    gain = world.backbone.embed_dim**0.5 if balanced else 1.0
    f = gain * F.normalize(batches[0].image_features, dim=-1)
    other = gain * F.normalize(batches[-1].image_features, dim=-1)
    wanted = torch.stack([method.labels.units[int(domain)] for domain in batches[0].domains])
    torch.manual_seed(3)
    made = source.generator(torch.cat([torch.randn(5, 100), other], dim=1))
    on_labels = source.discriminator(torch.cat([wanted, f], dim=1))  # dropout draws in this order
    on_prompts = source.discriminator(torch.cat([made.detach(), other], dim=1))
    close(judged["discriminator_real"], (on_labels - 1).square().mean())
    close(judged["discriminator_generated"], on_prompts.square().mean())
    assert float(judged["told_real"]) == pytest.approx(float((on_labels > 0.5).float().mean()))
    assert float(judged["told_generated"]) == pytest.approx(float((on_prompts <= 0.5).float().mean()))
    close(forged["generator"], (source.discriminator(torch.cat([made, other], dim=1)) - 1).square().mean())
    close(forged["prompt_variance"], made.var(dim=0, correction=0).mean())
    forged["generator"].backward()
    assert all(parameter.grad is not None for parameter in source.generator.parameters())


def plain_logits(world, method, batch, prompts):
    """Logits image by image and class by class, at full length, through transformers' own layers."""
    backbone, model = world.backbone, world.plain
    names = backbone.class_tokens(list(method.class_names))
    bias = model.logit_bias if hasattr(model, "logit_bias") else 0.0
    rows = []
    for feature, prompt in zip(batch.image_features, prompts, strict=True):
        image = feature / feature.norm()
        context = prompt.expand(len(names), -1, -1)
        sequences, pool, _ = plain.context_sequences(backbone, model, context, names, position="end")
        texts = [plain.text_features(model, s[None], end[None])[0] for s, end in zip(sequences, pool, strict=True)]
        rows.append(torch.stack([(model.logit_scale.exp() * image @ t / t.norm() + bias).squeeze() for t in texts]))
    return torch.stack(rows)


@pytest.mark.one_family
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("scale", ["standardised", "raw"])
def test_logits_equal_the_loop_over_images_and_classes(world, generator, scale):
    method = make(world, "spg", LONG, generator=generator, labels=scale, **QUICK)
    learn(world, method, FACTS)
    batch = some(world.test, 4)
    with torch.no_grad():
        source, images = method.source, F.normalize(batch.image_features, dim=-1)
        scaled = images * world.backbone.embed_dim**0.5
        units = {
            "gan": lambda: source.generator(torch.cat([source.noise[:1].expand(4, -1), scaled], dim=1)),
            "mean": lambda: method.labels.units.mean(dim=0).expand(4, -1),
            "mixture": lambda: torch.softmax(images @ source.weight.T + source.offset, -1) @ method.labels.units,
            "regression": lambda: source.network(scaled),
            "transformer": lambda: source.network(scaled),
        }[generator]()
        prompts = units.view(4, *method.labels.values.shape[1:])
        if scale == "standardised":
            prompts = method.labels.values.mean(dim=0) + method.labels.spread * prompts
        close(method.logits(batch), plain_logits(world, method, batch, prompts), 1e-4)


@pytest.mark.one_family
@pytest.mark.parametrize("generator", ["regression", "transformer"])
def test_regression_learns_the_label_of_each_domain(world, generator):
    method = make(world, "spg", generator=generator, epochs=40, lr=1e-3, warmup_epochs=0)
    lines = learn(world, method, FACTS)
    losses = [line["squared_distance"] for line in lines if "squared_distance" in line]
    assert losses[-1] < 0.75 * losses[0]
    assert lines[-1]["label_distance"] < lines[-1]["label_spread"]


@pytest.mark.parametrize("domains", [2, 3])
def test_a_mixture_weighs_labels_by_the_domain(world, domains):
    method = make(world, "spg", generator="mixture")
    labels = torch.randn(domains, *method.labels.values.shape[1:])
    method.adopt({f"d{number}": {"context": label} for number, label in enumerate(labels)})
    turns = torch.arange(18) % domains
    images = F.one_hot(turns, world.backbone.embed_dim).float()
    feed = FeatureFeed(images, torch.zeros(18), turns)

    (stage, _) = stages_of(method)
    assert stage.solve(feed, None)["domain_accuracy"] == 1.0
    close(method.image_prompts(images[:domains]), labels, 0.1)
    away = F.one_hot(torch.tensor([domains]), world.backbone.embed_dim).float()  # says nothing of any domain
    close(method.image_prompts(away)[0], labels.mean(dim=0), 0.05)


def test_the_mean_label_is_encoded_once(world):
    method = make(world, "spg", generator="mean")
    method.eval()
    runs, stop = text_runs(world)
    with torch.no_grad():
        for index in torch.arange(6).split(2):
            method.logits(world.test.batch(index))
    stop()
    assert len(runs) == 1


@pytest.mark.one_family
def test_noise_in_prediction(world):
    batch, found = some(world.test, 4), {}
    for noise in ("fixed", "zero", "mean", "fresh"):
        method = make(world, "spg", LONG, test_noise=noise, noise_draws=3, **QUICK)
        learn(world, method, FACTS)
        with torch.no_grad():
            first, second = method.logits(batch), method.logits(batch)
        assert torch.equal(first, second) == (noise != "fresh")
        found[noise] = first
    assert not torch.equal(found["fixed"], found["zero"])


def test_several_draws_are_averaged_and_differ(world):
    method = make(world, "spg", LONG, test_noise="mean", noise_draws=3, **QUICK)
    learn(world, method, FACTS)
    batch = some(world.test, 4)
    with torch.no_grad():
        logits, spread = method.logits_and_spread(batch)
        images = method.image_directions(batch)
        shares = torch.stack([plain_logits(world, method, batch, method.image_prompts(images, k)) for k in range(3)])
    shares = shares.softmax(dim=-1)
    close(logits.softmax(dim=-1), shares.mean(dim=0), 1e-4)
    winners = shares.mean(dim=0).argmax(dim=-1)
    close(spread, torch.stack([shares[:, row, winner].std() for row, winner in enumerate(winners)]), 1e-4)
    assert spread.max() > 1e-4


@pytest.mark.one_family
def test_memory_is_bounded_for_many_classes(world):
    classes = [f"class {number}" for number in range(345)]
    method = make(world, "spg", classes, generator="regression")
    method.eval()
    seen = []
    encode = world.backbone.encode_context
    try:
        world.backbone.encode_context = lambda context, *args, **how: (
            seen.append(len(context)) or encode(context, *args, **how)
        )
        with torch.no_grad():
            rows = torch.arange(50) % len(world.test)
            method.logits(world.test.batch(rows))
    finally:
        del world.backbone.encode_context
    assert sum(seen) == 50
    assert max(seen) * 345 <= PAIRS


def test_the_discriminator_is_learned_and_then_dropped(world):
    method = make(world, "spg", **QUICK)
    assert not any("discriminator" in name for name in method.learned_state())
    stages = stages_of(method)
    assert any("discriminator" in name for name in method.learned_state())  # so that a checkpoint holds it
    before = {name: tensor.clone() for name, tensor in method.source.discriminator.named_parameters()}
    discriminator = method.source.discriminator
    for turn in stages[0].turns:
        assert all(parameter.requires_grad for parameter in turn.parameters)
    descend(method, stages, world.train)
    method.end_training()
    assert any(not torch.equal(before[name], tensor) for name, tensor in discriminator.named_parameters())
    assert not any("discriminator" in name for name in method.learned_state())


def test_a_failed_load_changes_nothing(world):
    method = make(world, "spg", generator="mixture")
    before = {name: tensor.clone() for name, tensor in method.learned_state().items()}
    with pytest.raises(ConfigError, match="do not belong to this spg"):
        method.load_learned_state({"labels.values": torch.zeros(5, 4, 3)})
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.learned_state().items())


def test_prerequisites_are_coop_on_each_domain():
    config = make_config(SPGConfig, {"variant": "released", "select": "best-val", "select_every": 5})
    wanted = SPG.prerequisites(config, DOMAINS)
    assert list(wanted) == list(DOMAINS)
    one = wanted["night"]
    assert (one.method, one.domain, one.seed) == ("coop", "night", 1)
    assert one.settings == {
        "context_init": "a photo of a", "context_tokens": 4, "epochs": 50, "lr": 2e-3, "weight_decay": 1e-4,
        "warmup_epochs": 4, "augment": "crop+flip", "views": 0, "crop_scale": 0.08, "select": "best-val",
        "select_every": 5,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="spg learns one prompt for each domain, and these training images name none"):
        SPG.prerequisites(config, ())


def test_one_image_is_too_few(world):
    with pytest.raises(ConfigError, match="spg learns from two images or more, and there is one"):
        make(world, "spg").prepare(TrainingFacts(images=1, shots=1, domains=1))
    with pytest.raises(ConfigError, match="batch_size=1 is out of range; choose a value of at least 2"):
        make_config(SPGConfig, {"batch_size": 1})


def test_one_domain_is_warned_of(world, caplog):
    method = make(world, "spg")
    with caplog.at_level(logging.WARNING):
        method.adopt({"day": {"context": method.labels.values[0]}})
    assert "one domain to learn from, 'day'" in caplog.text


HEALTHY = {"label_spread": 0.1, "image_spread": 0.05, "label_distance": 0.08, "val_accuracy": 0.5}


@pytest.mark.parametrize(
    ("change", "domains", "words"),
    [
        ({}, 3, None),
        ({"image_spread": 5e-4}, 3, "the generator has collapsed: its prompts differ by 0.0005 between images"),
        ({"image_spread": 5e-4}, 1, None),
        ({"label_distance": 2.0}, 3, "the prompts lie 2 from the labels of their domains, which differ by 0.1"),
        ({"zero_shot_val_accuracy": 0.6}, 3, r"recognised less often \(0.500\) than without any training \(0.600\)"),
    ],
)
def test_troubles_are_named(change, domains, words):
    found = troubles({**HEALTHY, **change}, domains)
    assert len(found) == (0 if words is None else 1)
    if words is not None:
        assert re.search(words, found[0])
        assert "try" in found[0]


def test_collapse_is_warned_of(world, caplog):
    method = make(world, "spg", generator="regression", **QUICK)
    with torch.no_grad():
        method.source.network[11].weight.zero_()
    with caplog.at_level(logging.WARNING):
        figures = stages_of(method)[1].solve(world.train, world.val)
    assert "spg: the generator has collapsed" in caplog.text
    assert figures["image_spread"] < 1e-6
    assert 0 <= figures["val_accuracy"] <= 1


def test_a_transformer_over_one_token_is_a_function_of_each_image_alone():
    network = PromptTransformer(24, 16).eval()
    features = torch.randn(5, 24)
    with torch.no_grad():
        close(network(features)[2:3], network(features[2:3]))
        assert network(features).std(dim=0).min() > 0


def test_the_domain_that_an_image_is_taken_for(world):
    method = make(world, "spg").eval()
    batch = whole(world.test)
    with torch.no_grad():
        found, made = method.domain_distances(batch), method.image_prompts(method.image_directions(batch))
        plain = [[float((one - label).square().mean() ** 0.5) for label in method.labels.values] for one in made]
        close(found, torch.tensor(plain))
        assert make(world, "spg", generator="mean").eval().domain_distances(batch) is None
    assert list(method.word_vectors(DOMAINS)) == list(DOMAINS)
