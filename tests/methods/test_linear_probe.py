from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from acclimate.errors import ConfigError
from acclimate.methods import get_method
from acclimate.methods.linear_probe import GRID
from acclimate.options import identifying, make_config
from acclimate.training.feeds import FeatureFeed
from tests.helpers.methods import FACTS, learn, make, whole


@pytest.fixture
def blobs(tiny):
    """Makes features around one centre per class: so many images of each."""

    def draw(counts, seed=0, spread=1.0):
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(len(counts)), counts)
        centres = np.random.default_rng(7).normal(0, 1, (len(counts), tiny.embed_dim))
        features = centres[labels] + random.normal(0, spread, (len(labels), tiny.embed_dim))
        return FeatureFeed(torch.tensor(features, dtype=torch.float32), torch.tensor(labels))

    return draw


@pytest.fixture
def probe(tiny):
    """Makes a probe, fits it, and returns it with the line of its log."""
    from types import SimpleNamespace

    def fitted(train, val=None, classes=("a", "b", "c"), **settings):
        world = SimpleNamespace(backbone=tiny, train=train)
        method = make(world, "linear-probe", classes, **settings)
        (line,) = learn(world, method, FACTS, val)
        return method, line

    return fitted


def unit(feed):
    x = feed.features.double().numpy()
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def sklearn_probabilities(train, test, strength):
    """The same probe with scikit-learn alone: unit features, centred, over one scalar."""
    x = unit(train)
    centre = x.mean(axis=0)
    scale = np.sqrt(np.mean((x - centre) ** 2))
    model = LogisticRegression(C=strength, max_iter=5000, tol=1e-7).fit((x - centre) / scale, train.labels.numpy())
    return model.predict_proba((unit(test) - centre) / scale)


@pytest.mark.parametrize("counts", [(6, 6, 6), (9, 3, 5), (5, 7)])
@pytest.mark.parametrize("strength", [0.01, 0.1, 1.0])
def test_equals_scikit_learn(blobs, probe, counts, strength):
    train, test = blobs(counts), blobs(counts, seed=1)
    method, line = probe(train, classes=("a", "b", "c")[: len(counts)], regularisation="fixed", C=strength)
    found = method.logits(whole(test)).softmax(-1).numpy()
    np.testing.assert_allclose(found, sklearn_probabilities(train, test, strength), atol=2e-3)
    assert line == {"stage": "linear-probe", "C": strength, "rule": "fixed"}


def test_rules(blobs, probe):
    train, val = blobs((6, 6, 6), spread=2.0), blobs((3, 3, 3), seed=1, spread=2.0)
    assert probe(train, val)[1]["rule"] == "validation"
    assert probe(train)[1]["rule"] == "cross-validation"
    assert probe(train, FeatureFeed(val.features[:0], val.labels[:0]))[1]["rule"] == "cross-validation"
    assert probe(train, val, regularisation="cross-validation")[1]["rule"] == "cross-validation"
    assert probe(train, val, regularisation="fixed")[1] == {"stage": "linear-probe", "C": 0.1, "rule": "fixed"}
    one_shot = blobs((1, 1, 1))
    assert probe(one_shot)[1] == {"stage": "linear-probe", "C": 0.1, "rule": "fixed"}
    assert probe(blobs((5, 5, 1)))[1]["rule"] == "fixed"
    assert probe(one_shot, val)[1]["rule"] == "validation"


def test_validation_chooses_the_lowest_log_loss(blobs, probe):
    train, val = blobs((6, 6, 6), spread=2.5), blobs((8, 8, 8), seed=1, spread=2.5)
    chosen = probe(train, val)[1]["C"]
    losses = []
    for strength in GRID:
        probabilities = sklearn_probabilities(train, val, strength)
        losses.append(-np.log(probabilities[np.arange(24), val.labels.numpy()]).sum())
    assert chosen == GRID[int(np.argmin(losses))]


@pytest.mark.parametrize(("rule", "words"), [("validation", "there are none"), ("cross-validation", "two training")])
def test_rules_that_the_data_do_not_allow(blobs, probe, rule, words):
    with pytest.raises(ConfigError, match=f"{rule}.*{words}.*use auto"):
        probe(blobs((1, 1, 1)), regularisation=rule)


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("counts", [(5, 0, 5), (0, 4, 4), (4, 4, 0), (0, 5, 0)])
def test_a_class_without_training_images_is_never_predicted(blobs, probe, counts, validation):
    method, _ = probe(blobs(counts), blobs((3, 3, 3), seed=2) if validation else None)
    predicted = method.logits(whole(blobs((9, 9, 9), seed=1))).argmax(-1)
    assert set(predicted.tolist()) <= {label for label, count in enumerate(counts) if count}
    assert method.logits(whole(blobs((9, 9, 9), seed=1))).isfinite().all()


def test_equal_features_are_no_reason_to_fail(probe, tiny):
    train = FeatureFeed(torch.ones(6, tiny.embed_dim), torch.tensor([0, 1, 2, 0, 1, 2]))
    method, _ = probe(train)
    assert method.logits(whole(train)).isfinite().all()


def test_size_of_features_does_not_matter(blobs, probe):
    train = blobs((4, 4, 4))
    one, _ = probe(train, regularisation="fixed")
    two, _ = probe(FeatureFeed(train.features * 50, train.labels), regularisation="fixed")
    torch.testing.assert_close(one.weight, two.weight, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("tiles", ["none", "mean", "spread", "mean+spread", "each"])
def test_scales_are_those_of_plain_arithmetic(tiny, probe, tiles):
    """Unit features of the whole, then what is made of those of the tiles, in NumPy."""
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (9, 5, tiny.vision_width)).astype(np.float32)
    labels = torch.tensor([0, 1, 2] * 3)
    unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
    own = unit[:, 1:]
    expected = {
        "none": [],
        "mean": [own.mean(1)],
        "spread": [own.std(1)],
        "mean+spread": [own.mean(1), own.std(1)],
        "each": [own.reshape(9, -1) / 2],
    }[tiles]
    field = "pooled_features" if tiles == "none" else "pooled_features_2x2"
    values = torch.from_numpy(features[:, 0] if tiles == "none" else features)
    feed = FeatureFeed(values, labels, kind=field)
    method, _ = probe(feed, features="before", tiles=tiles, regularisation="fixed")
    assert method.inputs.prediction == {field}
    read = method.features(whole(feed)).numpy()
    np.testing.assert_allclose(read, np.concatenate([unit[:, 0], *expected], axis=1), atol=1e-6)
    assert method.weight.shape == (3, read.shape[1])
    centre, scale = read.mean(0), np.sqrt(np.mean((read - read.mean(0)) ** 2))
    plain = LogisticRegression(C=0.1, max_iter=5000, tol=1e-7).fit((read - centre) / scale, labels)
    np.testing.assert_allclose(
        method.logits(whole(feed)).softmax(-1), plain.predict_proba((read - centre) / scale), atol=2e-3
    )


def test_tiles_leave_the_identity_of_earlier_runs():
    config = get_method("linear-probe").Config
    assert identifying(config()) == {"regularisation": "auto", "C": 0.1, "max_iter": 1000}
    assert identifying(config(tiles="mean", grid=3)).items() >= {"tiles": "mean", "grid": 3}.items()
    other = get_method("domain-linear-probe")
    reads = other.inputs_of(make_config(other.Config, {"tiles": "each", "grid": 4}))
    assert reads.prediction == {"domain_features_4x4"}
    with pytest.raises(ConfigError, match="grid=5 is out of range; choose a value from 2 to 4"):
        config(grid=5)


def test_before_a_projection_that_is_not_there(worlds):
    world = worlds("llava")
    with pytest.raises(ConfigError, match=r"features=before: .* has no projection .*use features=projected"):
        make(world, "linear-probe", features="before")
    assert make(world, "linear-probe", tiles="mean").inputs.prediction == {"image_features_2x2"}
