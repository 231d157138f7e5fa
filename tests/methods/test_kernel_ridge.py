"""Kernel ridge regression against brute force: refits for leave-one-out, scikit-learn for the solution."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods.parts import kernels, ridge
from acclimate.methods.parts.scores import NEVER
from acclimate.training.feeds import FeatureFeed, JoinedFeed
from tests.helpers.methods import FACTS, learn, make, whole

SPACES = (6, 4)


def drawn(counts, seed=0, spread=1.0):
    """Points in two spaces around a centre for each class, and one-hot classes."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    centres = np.random.default_rng(7).normal(0, 1, (len(counts), sum(SPACES)))
    points = torch.tensor(centres[labels] + random.normal(0, spread, (len(labels), sum(SPACES))))
    return list(points.split(SPACES, dim=-1)), F.one_hot(torch.tensor(labels), len(counts)).double()


def plain_kernel(one, other, betas, shares):
    """The sum of kernels by loops over pairs."""
    kernel = np.zeros((len(one[0]), len(other[0])))
    for x, y, beta, share in zip(one, other, betas, shares, strict=True):
        for i, j in np.ndindex(kernel.shape):
            kernel[i, j] += share * np.exp(-beta * float(((x[i] - y[j]) ** 2).sum()))
    return kernel


def test_leaving_out_a_group_equals_a_refit_without_it():
    points, values = drawn((5, 4, 3))
    targets = ridge.make_targets(values, torch.full_like(values, 1 / 3))
    kernel, strength = kernels.kernel_of(points, points, (0.3, 0.1), (0.25, 0.75)), 0.3
    group = torch.tensor([0, 6, 7])
    found = ridge.solve(kernel, targets, strength, [group])
    alone = ridge.solve(kernel, targets, strength)
    rest = torch.tensor([row for row in range(len(kernel)) if row not in group])
    again = KernelRidge(alpha=strength, kernel="precomputed")
    again.fit(kernel[rest][:, rest].numpy(), (values - targets.base)[rest].numpy(), targets.weights[rest].numpy())
    expected = targets.base[group].numpy() + again.predict(kernel[group][:, rest].numpy())
    np.testing.assert_allclose(found.left_out[group], expected, atol=1e-9)
    assert (found.left_out - alone.left_out)[group].abs().max() > 0.01
    torch.testing.assert_close(found.left_out[rest], alone.left_out[rest])
    torch.testing.assert_close(found.coefficients, alone.coefficients)


@pytest.mark.parametrize("counts", [(5, 5, 5), (7, 2, 4)])
@pytest.mark.parametrize("strength", [0.03, 1.0])
def test_leaving_out_equals_refits_without_each_point(counts, strength):
    points, values = drawn(counts)
    base = torch.rand(values.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = ridge.make_targets(values, base)
    betas, shares = (0.3, 0.1), (0.25, 0.75)
    kernel = plain_kernel(points, points, betas, shares)
    np.testing.assert_allclose(kernels.kernel_of(points, points, betas, shares), kernel, atol=1e-12)
    (found,) = ridge.solutions(torch.tensor(kernel), targets, [strength])
    for row in range(len(kernel)):
        rest = np.delete(np.arange(len(kernel)), row)
        again = KernelRidge(alpha=strength, kernel="precomputed")
        again.fit(kernel[np.ix_(rest, rest)], (values - base)[rest], sample_weight=targets.weights[rest])
        expected = base[row].numpy() + again.predict(kernel[[row]][:, rest])[0]
        np.testing.assert_allclose(found.left_out[row], expected, atol=1e-9)
    whole_fit = KernelRidge(alpha=strength, kernel="precomputed")
    whole_fit.fit(kernel, values - base, sample_weight=targets.weights)
    np.testing.assert_allclose(found.coefficients, whole_fit.dual_coef_, atol=1e-9)
    other = ridge.solve(torch.tensor(kernel), targets, strength)
    np.testing.assert_allclose(other.left_out, found.left_out, atol=1e-9)
    np.testing.assert_allclose(other.coefficients, found.coefficients, atol=1e-9)


def test_classes_count_the_same():
    _, values = drawn((7, 2, 4))
    weights = ridge.make_targets(values, values * 0).weights
    assert (values.T @ weights).tolist() == pytest.approx([13 / 3] * 3)


def test_judged_by_the_least_log_loss_over_temperatures():
    random = np.random.default_rng(0)
    _, values = drawn((4, 1, 3))
    scores = torch.tensor(random.normal(0, 1, values.shape)) + 2 * values
    weights, plain, classes = ridge.make_targets(values, values * 0).weights.numpy(), scores.numpy(), values.numpy()
    targets = ridge.make_targets(values, values * 0)
    losses, warmth = ridge.judge(scores, targets)
    assert targets.judged.tolist() == [True] * 4 + [False] + [True] * 3
    kept = [row for row in range(8) if row != 4]

    def loss(one):
        shares = np.exp(plain[kept] / one) / np.exp(plain[kept] / one).sum(-1, keepdims=True)
        return -np.log((shares * classes[kept]).sum(-1)) * weights[kept]

    assert warmth == min(ridge.TEMPERATURES, key=lambda one: float(loss(one).mean()))
    np.testing.assert_allclose(losses, loss(warmth), atol=1e-9)


def test_a_choice_beats_the_usual_settings_or_leaves_them(monkeypatch):
    """The first space is noise; where there is much to judge by, its kernel goes."""
    random = torch.Generator().manual_seed(0)
    (_, useful), values = drawn((40, 40, 40), spread=0.6)
    noise = torch.randn(len(useful), 6, dtype=torch.float64, generator=random)
    targets = ridge.make_targets(values, torch.full_like(values, 1 / 3))
    clear = ridge.choose([noise, useful], targets, (0.75, 0.25))
    assert clear.rule == "leave-one-out"
    assert clear.shares[1] >= 0.75
    monkeypatch.setattr(ridge, "CERTAINTY", 1e6)
    unclear = ridge.choose([noise, useful], targets, (0.75, 0.25))
    assert (unclear.rule, unclear.shares, unclear.strength) == ("usual", (0.75, 0.25), 0.1)
    apart = ((useful[:, None] - useful) ** 2).sum(-1)[~torch.eye(120, dtype=torch.bool)]
    assert unclear.betas[1] == pytest.approx(0.5 / apart.median().item())

    def loss(choice):
        return ridge.judge(ridge.solve(kernel_with(choice), targets, choice.strength).left_out, targets)[0].mean()

    def kernel_with(choice):
        return kernels.kernel_of([noise, useful], [noise, useful], choice.betas, choice.shares)

    assert loss(clear) < loss(unclear) - 0.01


def test_more_points_than_centres(monkeypatch):
    """With every point a centre, what goes through centres is the exact solution; with some, it is near."""
    points, values = drawn((60, 40, 20), spread=0.7)
    targets = ridge.make_targets(values, torch.full_like(values, 1 / 3))
    choice = ridge.Choice((0.1, 0.1), (0.5, 0.5), 0.1)
    exact = ridge.regress(points, targets, choice)
    through = ridge.solve_through(points, points, targets, choice)
    kernel = kernels.kernel_of(points, points, choice.betas, choice.shares)
    np.testing.assert_allclose(kernel @ through, kernel @ exact.coefficients, atol=1e-4)
    monkeypatch.setattr(ridge, "CENTRES", 60)
    monkeypatch.setattr(ridge, "CHOSEN_ON", 30)
    some = ridge.regress(points, targets, choice)
    assert [len(space) for space in some.points] == [60, 60]
    said = kernels.kernel_of(points, some.points, choice.betas, choice.shares) @ some.coefficients
    agree = (said.argmax(-1) == (kernel @ exact.coefficients).argmax(-1)).double().mean()
    assert agree > 0.95
    rows = ridge.spread_out(values.argmax(-1), 30)
    assert values[rows].sum(0).tolist() == [10, 10, 10]
    assert values[ridge.spread_out(values.argmax(-1), 90)].sum(0).tolist() == [35, 35, 20]


# ----------------------------------------------------------------------------------------------------------- the method


def feed_of(tiny, domain, labels, seed=0, copies=()):
    """Features of images and four tiles, of the backbone and of a domain encoder; some images stand there again."""
    random = np.random.default_rng(seed)
    labels = np.asarray(labels)
    fields = {"pooled_features_2x2": tiny.vision_width, "domain_features_2x2": domain.width}
    feeds = []
    for name, width in fields.items():
        centres = np.random.default_rng(width).normal(0, 1, (4, 1, width))
        values = centres[labels] + random.normal(0, 1.0, (len(labels), 5, width))
        rows = [*range(len(labels)), *copies]
        feeds.append(
            FeatureFeed(torch.tensor(values[rows], dtype=torch.float32), torch.tensor(labels[rows]), kind=name)
        )
    return JoinedFeed(feeds)


@pytest.fixture
def ridged(tiny, domain_encoder):
    """Makes a regression, fits it, and returns it with the line of its log."""

    def fitted(train, classes=("a", "b", "c"), encoder=True, **settings):
        world = SimpleNamespace(backbone=tiny, train=train, domain_encoder=domain_encoder if encoder else None)
        method = make(world, "kernel-ridge", classes, **settings)
        (line,) = learn(world, method, FACTS)
        return method, line

    return fitted


def said(method, feed):
    with torch.no_grad():
        return method.logits(whole(feed)).softmax(-1)


@pytest.mark.parametrize("encoder", [False, True])
def test_logits_equal_the_equation(ridged, tiny, domain_encoder, encoder):
    train = feed_of(tiny, domain_encoder, [0, 1, 2] * 5)
    test = feed_of(tiny, domain_encoder, [0, 1, 2] * 3, seed=1)
    method, line = ridged(train, encoder=encoder)

    def spaces(feed):
        found = []
        for name in ("pooled_features_2x2", "domain_features_2x2")[: 2 if encoder else 1]:
            unit = F.normalize(getattr(whole(feed), name).double(), dim=-1).numpy()
            tiles = unit[:, 1:]
            found += [unit[:, 0], np.concatenate([tiles.mean(1), tiles.std(1)], axis=1)]
        return found

    assert len(line["betas"]) == len(line["shares"]) == (4 if encoder else 2)
    assert sum(line["shares"]) == pytest.approx(1)
    kernel = plain_kernel(spaces(train), spaces(train), line["betas"], line["shares"])
    y = np.eye(3)[train.labels.numpy()]
    a = np.linalg.solve(kernel + line["strength"] * np.eye(15), y - 1 / 3)
    f = 1 / 3 + plain_kernel(spaces(test), spaces(train), line["betas"], line["shares"]) @ a
    np.testing.assert_allclose(method.logits(whole(test)), f / line["temperature"], atol=1e-4)


def test_copies_of_images_change_nothing(ridged, tiny, domain_encoder):
    labels = [0, 1, 2] * 4
    test = feed_of(tiny, domain_encoder, [0, 1, 2] * 3, seed=1)
    one, line = ridged(feed_of(tiny, domain_encoder, labels))
    two, again = ridged(feed_of(tiny, domain_encoder, labels, copies=(0, 0, 3, 7)))
    assert line["images"] == again["images"] == 12
    torch.testing.assert_close(said(two, test), said(one, test), atol=1e-5, rtol=1e-4)


def test_one_image_under_two_labels_is_half_of_each(ridged, tiny, domain_encoder):
    plain = feed_of(tiny, domain_encoder, [0, 1, 2] * 4, copies=(0,))
    for feed in plain.feeds:
        feed.labels[-1] = 1
    plain.labels = plain.feeds[0].labels
    shares = said(ridged(plain)[0], plain)
    torch.testing.assert_close(shares[0], shares[-1])
    assert shares[0, :2].min() > shares[0, 2]


@pytest.mark.parametrize("base", ["uniform", "zero-shot"])
def test_one_image_a_class(ridged, tiny, domain_encoder, base):
    train = feed_of(tiny, domain_encoder, [0, 1, 2])
    method, line = ridged(train, base=base)
    assert (line["rule"], line["temperature"]) == ("usual", 0.3)
    assert line["shares"] == (0.125, 0.375, 0.125, 0.375)
    if base == "uniform":
        assert said(method, train).argmax(-1).tolist() == [0, 1, 2]


def test_zero_shot_is_gone_on_from(ridged, tiny, domain_encoder):
    """Without images near, what the text says stays."""
    train = feed_of(tiny, domain_encoder, [0, 1, 2] * 3)
    method, _ = ridged(train, base="zero-shot", encoder=False)
    method.coefficients.zero_()
    x = F.normalize(whole(train).pooled_features_2x2[:, 0] @ tiny.vision_projection.T, dim=-1)
    t = F.normalize(tiny.encode_text(method.prompts.sentences(("a", "b", "c"))), dim=-1)
    expected = tiny.scaled(x @ t.T).softmax(-1) / method.temperature
    torch.testing.assert_close(method.logits(whole(train)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("labels", [[0, 0, 2, 2, 2], [1, 1, 1], [2]])
def test_classes_without_images_are_never_given(ridged, tiny, domain_encoder, labels):
    train = feed_of(tiny, domain_encoder, labels)
    method, _ = ridged(train)
    logits = method.logits(whole(feed_of(tiny, domain_encoder, [0, 1, 2, 3], seed=2)))
    assert logits.isfinite().all()
    absent = [label for label in range(3) if label not in labels]
    assert (logits[:, absent] == NEVER).all()
    assert set(logits.argmax(-1).tolist()) <= set(labels)


def test_a_single_class_and_equal_images(ridged, tiny, domain_encoder):
    alone, _ = ridged(feed_of(tiny, domain_encoder, [0, 0]), classes=("a",))
    assert said(alone, feed_of(tiny, domain_encoder, [1], seed=3)).tolist() == [[1.0]]
    equal = feed_of(tiny, domain_encoder, [0] * 6)
    for feed in equal.feeds:
        feed.features[:] = feed.features[0].clone()
        feed.labels[:] = torch.tensor([0, 1, 2, 0, 1, 2])
    equal.labels = equal.feeds[0].labels
    torch.testing.assert_close(said(ridged(equal)[0], equal), torch.full((6, 3), 1 / 3))


def test_a_domain_encoder_is_read_where_there_is_one(ridged, tiny, domain_encoder):
    train = feed_of(tiny, domain_encoder, [0, 1, 2] * 3)
    assert ridged(train)[0].inputs.prediction == {"pooled_features_2x2", "domain_features_2x2"}
    assert ridged(train, encoder=False)[0].inputs.prediction == {"pooled_features_2x2"}
    assert ridged(train, domain=False)[0].inputs.prediction == {"pooled_features_2x2"}


def test_points_without_coefficients_are_refused(ridged, tiny, domain_encoder):
    method, _ = ridged(feed_of(tiny, domain_encoder, [0, 1, 2] * 2))
    state = dict(method.learned_state())
    with pytest.raises(ConfigError, match="6 points and 5 coefficients"):
        method.load_learned_state({**state, "coefficients": state["coefficients"][:5]})
