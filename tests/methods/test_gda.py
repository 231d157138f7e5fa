"""Gaussian discriminant analysis against scikit-learn and plain formulae."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from acclimate.errors import ConfigError
from acclimate.methods.parts.scores import NEVER
from acclimate.training.feeds import FeatureFeed
from tests.helpers.methods import FACTS, learn, make, whole


@pytest.fixture
def blobs(tiny):
    """Makes features around one centre per class: so many images of each, and so many views of each image."""

    def draw(counts, seed=0, views=0):
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(len(counts)), counts)
        centres = np.random.default_rng(7).normal(0, 1, (len(counts), tiny.embed_dim))
        shape = (max(views, 1), len(labels), tiny.embed_dim)
        features = torch.tensor(centres[labels] + random.normal(0, 1.0, shape), dtype=torch.float32)
        return FeatureFeed(features[0], torch.tensor(labels), views=features if views else None)

    return draw


@pytest.fixture
def analysed(tiny):
    """Makes a GDA on projected features of whole images, fits it, and returns it with the line of its log."""

    def fitted(train, classes=("a", "b", "c"), **settings):
        world = SimpleNamespace(backbone=tiny, train=train)
        method = make(
            world, "gda", classes, **{"features": "projected", "tiles": "none", "augment": "none", **settings}
        )
        (line,) = learn(world, method, FACTS)
        return method, line

    return fitted


def unit(features):
    return (features / features.norm(dim=-1, keepdim=True)).double().numpy()


@pytest.mark.parametrize("count", [6, 40])
def test_equals_scikit_learn(blobs, analysed, count):
    """N images, E wide, make a shrinkage of E / (N - 1 + E) there, and P is so much of the inverse of what is shrunk.

    Its covariance is divided by N, ours by N - 1.
    """
    train, test = blobs((count,) * 3), blobs((4, 4, 4), seed=1)
    method, line = analysed(train)
    x, y = unit(train.features), train.labels.numpy()
    images, width = x.shape
    share = width / (images - 1 + width)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share, priors=[1 / 3] * 3).fit(x, y)
    theirs = share * (images - 1) / images * model.decision_function(unit(test.features))
    ours = method.logits(whole(test)).numpy()
    np.testing.assert_allclose(
        ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), atol=1e-3, rtol=1e-4
    )
    assert np.ptp(theirs, axis=1).min() > 0.1
    assert line == {"stage": "gda", "images": 3 * count, "views": 1, "covariance": "within"}


def test_uneven_classes_by_the_formula(blobs, analysed):
    train, test = blobs((9, 3, 5)), blobs((4, 4, 4), seed=1)
    x, y, z = unit(train.features), train.labels.numpy(), unit(test.features)
    means = np.stack([x[y == label].mean(0) for label in range(3)])
    scatter = sum(np.outer(row - means[label], row - means[label]) for row, label in zip(x, y, strict=True))
    width = x.shape[1]
    precision = width * np.linalg.inv(scatter + np.trace(scatter) / 16 * np.eye(width))
    expected = [[m @ precision @ row - m @ precision @ m / 2 for m in means] for row in z]
    np.testing.assert_allclose(analysed(train)[0].logits(whole(test)), expected, atol=1e-3, rtol=1e-4)


def test_one_image_a_class_has_the_spread_of_all_images(blobs, analysed):
    train = blobs((1, 1, 1))
    method, line = analysed(train)
    assert line["covariance"] == "total"
    assert method.logits(whole(train)).argmax(-1).tolist() == [0, 1, 2]
    x = unit(train.features)
    centred = x - x.mean(0)
    precision = x.shape[1] * np.linalg.inv(centred.T @ centred + (centred**2).sum() / 2 * np.eye(x.shape[1]))
    expected = x @ precision @ x.T - 0.5 * np.diag(x @ precision @ x.T)
    np.testing.assert_allclose(method.logits(whole(train)), expected, atol=1e-3, rtol=1e-4)


def test_views_are_images_of_their_class(blobs, analysed):
    """One image a class with views says how images of a class differ."""
    train = blobs((1, 1, 1), views=4)
    method, line = analysed(train, augment="crop", views=4)
    assert line == {"stage": "gda", "images": 3, "views": 4, "covariance": "within"}
    flat = FeatureFeed(train.views.flatten(0, 1), train.labels.repeat(4))
    same, _ = analysed(flat)
    test = blobs((4, 4, 4), seed=1)
    torch.testing.assert_close(method.logits(whole(test)), same.logits(whole(test)))


@pytest.mark.parametrize("counts", [(5, 0, 5), (0, 4, 0), (0, 0, 1), (1, 0, 1)])
def test_a_class_without_training_images_is_never_predicted(blobs, analysed, counts):
    method, _ = analysed(blobs(counts))
    logits = method.logits(whole(blobs((3, 3, 3), seed=1)))
    assert logits.isfinite().all()
    assert (logits[:, [label for label in range(3) if not counts[label]]] == NEVER).all()
    assert {counts[label] > 0 for label in logits.argmax(-1).tolist()} == {True}


def test_copies_alone_are_one_image(blobs, analysed):
    train = blobs((1, 1, 1))
    copied = FeatureFeed(train.features.repeat(3, 1), train.labels.repeat(3))
    assert analysed(copied)[1]["covariance"] == "total"
    equal = FeatureFeed(torch.ones(6, train.features.shape[1]), torch.tensor([0, 1, 2] * 2))
    assert analysed(equal)[0].logits(whole(equal)).isfinite().all()


def test_views_of_tiles_are_refused(tiny):
    with pytest.raises(ConfigError, match="augment=crop draws views of whole images, and tiles=mean reads their tiles"):
        make(SimpleNamespace(backbone=tiny), "gda", augment="crop", tiles="mean")
