"""Methods that tell each label by itself, against scikit-learn and plain formulae."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from acclimate.errors import ConfigError
from acclimate.methods import Labeller, TrainingFacts, get_method, list_methods
from acclimate.methods.gda import label_discriminants
from acclimate.methods.kernel_ridge import distinct_labels
from acclimate.methods.parts import kernels, ridge
from acclimate.methods.parts.folds import deal
from acclimate.methods.parts.thresholds import best_threshold, calibrate, choose_thresholds
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.training.feeds import FeatureFeed, RepeatedFeed
from tests.helpers.methods import descend, whole

LABELS = ("cat", "dog", "river")
PLAIN = {"features": "projected", "tiles": "none"}
SETTINGS = {"kernel-ridge": PLAIN, "gda": {**PLAIN, "augment": "none"}, "linear-probe": {}, "zero-shot": {}}


@pytest.fixture
def feed(tiny):
    """Makes features of so many images, each the sum of the directions of its labels, under noise."""

    def draw(count, seed=0, noise=1.0):
        random = np.random.default_rng(seed)
        directions = np.random.default_rng(7).normal(0, 1, (len(LABELS), tiny.embed_dim))
        truth = random.random((count, len(LABELS))) < 0.4
        features = truth @ directions + random.normal(0, noise, (count, tiny.embed_dim))
        return FeatureFeed(torch.tensor(features, dtype=torch.float32), torch.tensor(truth))

    return draw


def made(tiny, name, **settings):
    kind = get_method(name)
    method = kind(tiny, make_config(kind.Config, {**SETTINGS[name], **settings}), PromptSet("natural"), None)
    method.learn_labels(LABELS)
    return method


def taught(tiny, name, train, groups=(), val=None, **settings):
    method = made(tiny, name, **settings)
    facts = TrainingFacts(images=len(train), shots=8, groups=groups)
    method.prepare(facts)
    lines = descend(method, method.label_stages(facts), train, val)
    method.eval()
    return method, lines


def probabilities(method, feed):
    with torch.no_grad():
        return method.label_probabilities(whole(feed)).numpy()


def unit(features):
    return (features / features.norm(dim=-1, keepdim=True)).double().numpy()


# ----------------------------------------------------------------------------------------- probabilities and thresholds


def test_calibration_of_one_label_equals_logistic_regression():
    """Each score counts twice there, for the label and against it, in shares that make no answer certain."""
    random = np.random.default_rng(0)
    scores, truth = random.normal(0, 3, 40), random.random(40) < 0.4
    scores[truth] += 4
    having, lacking = truth.sum(), (~truth).sum()
    aim = np.where(truth, (having + 1) / (having + 2), 1 / (lacking + 2))
    theirs = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000)
    theirs.fit(np.tile(scores, 2)[:, None], np.repeat([1, 0], 40), sample_weight=np.concatenate([aim, 1 - aim]))
    one = torch.tensor(scores)[:, None]
    slope, offsets = calibrate(one, torch.tensor(truth)[:, None], torch.ones_like(one, dtype=torch.bool))
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
    assert offsets.tolist() == pytest.approx(theirs.intercept_.tolist(), rel=1e-3)


def test_labels_share_a_slope_and_those_that_nothing_is_told_of_the_offset():
    random = np.random.default_rng(1)
    truth = random.random((80, 3)) < 0.5
    scores = torch.tensor(4.0 * truth + random.normal(0, 1, (80, 3)) + [0.0, 3.0, -50.0])
    told = torch.ones(80, 3, dtype=torch.bool)
    told[:, 2] = False
    slope, offsets = calibrate(scores, torch.tensor(truth), told)
    assert offsets[0] - offsets[1] == pytest.approx(3 * slope, rel=0.3)
    assert offsets[2] == pytest.approx(offsets[:2].mean())
    assert calibrate(-scores, torch.tensor(truth), told)[0] > 0  # never turned round


def test_the_threshold_has_the_best_f1():
    random = np.random.default_rng(2)
    for _ in range(5):
        p, truth = random.random(12).round(1) + 0.05, random.random(12) < 0.5
        truth[0] = True
        found = f1_score(truth, p >= best_threshold(p, truth))
        assert found == pytest.approx(max(f1_score(truth, p >= least) for least in p))


def test_few_images_of_a_label_have_the_threshold_of_all():
    p = torch.tensor(np.linspace(0.01, 0.99, 40))[:, None].repeat(1, 2)
    truth = torch.stack([p[:, 0] > 0.3, p[:, 0] > 0.9], dim=1)  # 28 images, and 4
    found = choose_thresholds(p, truth, torch.ones_like(truth))
    assert 0.28 < found[0] < 0.32
    common = best_threshold(p.flatten().numpy(), truth.flatten().numpy())
    assert found[1] == pytest.approx(common)
    assert best_threshold(p[:, 1].numpy(), truth[:, 1].numpy()) > 0.85  # which its four would have had


# -------------------------------------------------------------------------------------------------------------- methods


def test_the_probe_is_a_logistic_regression_of_each_label(tiny, feed):
    train, test = feed(40), feed(10, seed=1)
    method, (line, _) = taught(tiny, "linear-probe", train, regularisation="fixed", C=0.3)
    assert line["C"] == 0.3
    x, z = unit(train.features), unit(test.features)
    centre = x.mean(0)
    scale = np.sqrt(((x - centre) ** 2).mean())
    for number in range(len(LABELS)):
        theirs = LogisticRegression(C=0.3, tol=1e-8, max_iter=1000)
        theirs.fit((x - centre) / scale, train.labels[:, number].numpy())
        ours = method.label_scores(whole(test))[:, number].numpy()
        np.testing.assert_allclose(ours, theirs.decision_function((z - centre) / scale), atol=2e-2)


def test_the_probe_has_one_strength_for_all_labels(tiny, feed):
    train, val = feed(24), feed(20, seed=3)
    assert taught(tiny, "linear-probe", train)[1][0]["rule"] == "cross-validation"
    by_val, (line, _) = taught(tiny, "linear-probe", train, val=val)
    assert line["rule"] == "validation"
    x, z = (unit(one.features) for one in (train, val))
    centre = x.mean(0)
    scale = np.sqrt(((x - centre) ** 2).mean())

    def loss(strength):
        total = 0.0
        for number in range(len(LABELS)):
            model = LogisticRegression(C=strength, max_iter=500).fit((x - centre) / scale, train.labels[:, number])
            p = model.predict_proba((z - centre) / scale)
            total -= np.log(p[np.arange(len(z)), val.labels[:, number].numpy().astype(int)]).sum()
        return total

    assert loss(line["C"]) == pytest.approx(min(loss(10.0**power) for power in np.arange(-3, 1.5, 0.5)), rel=1e-3)
    assert by_val.settled().regularisation == "fixed"


def test_kernel_ridge_has_a_row_for_each_label(tiny, feed):
    train, test = feed(30), feed(8, seed=1)
    method, (line, _) = taught(tiny, "kernel-ridge", train)
    x, z = unit(train.features), unit(test.features)
    prior = (train.labels.double().sum(0) + 0.5).numpy() / 31

    def kernel(one, other):
        return np.exp(-line["betas"][0] * ((one[:, None] - other) ** 2).sum(-1))

    theirs = KernelRidge(alpha=line["strength"], kernel="precomputed").fit(kernel(x, x), train.labels.numpy() - prior)
    expected = np.log(prior / (1 - prior)) + theirs.predict(kernel(z, x)) / line["temperature"]
    np.testing.assert_allclose(method.label_scores(whole(test)), expected, atol=1e-3)


def test_leave_one_out_of_labels_by_the_log_loss():
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(0, 1, (12, 3)))
    values = torch.tensor((random.random((12, 2)) < 0.5).astype(float))
    targets, kernel = ridge.label_targets(values), torch.exp(-0.3 * kernels.squared_distances(x, x))
    found = ridge.solve(kernel, targets, 0.1)
    base = targets.base[0].numpy()
    for row in range(12):
        rest = [other for other in range(12) if other != row]
        refit = KernelRidge(alpha=0.1, kernel="precomputed")
        refit.fit(kernel[rest][:, rest].numpy(), values[rest].numpy() - base)
        np.testing.assert_allclose(
            found.left_out[row], base + refit.predict(kernel[[row]][:, rest].numpy())[0], atol=1e-9
        )
    losses, warmth = ridge.judge(found.left_out, targets)

    def loss(one):
        z = np.log(base / (1 - base)) + (found.left_out.numpy() - base) / one
        return (np.logaddexp(0, z) - values.numpy() * z).sum(-1)

    assert warmth == min(ridge.TEMPERATURES, key=lambda one: float(loss(one).mean()))
    np.testing.assert_allclose(losses, loss(warmth), atol=1e-9)


def test_copies_have_the_labels_of_all():
    features = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    rows, values = distinct_labels(
        features, torch.tensor([[True, False, False], [False, False, True], [False, True, False]])
    )
    assert rows.tolist() == [0, 1]
    assert values.tolist() == [[1, 1, 0], [0, 0, 1]]


def test_gda_of_a_label_equals_scikit_learn(feed):
    """Half of the images have each label: then both count covariances alike."""
    x = torch.nn.functional.normalize(feed(40).features, dim=-1).double()
    truth = torch.stack([torch.arange(40) % 2 == 0, torch.arange(40) < 20], dim=1)
    weight, bias, within = label_discriminants(x, truth)
    assert within
    share = x.shape[1] / (39 + x.shape[1])
    for number, label in enumerate(truth.T.numpy()):
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=share, priors=[0.5, 0.5]).fit(x.numpy(), label)
        theirs = share * 39 / 40 * model.decision_function(x.numpy())
        np.testing.assert_allclose((x @ weight[number] + bias[number]).numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize("name", SETTINGS)
def test_thresholds_come_from_images_that_were_not_learned_from(tiny, feed, name):
    """Scores of every fold come from a method that has learned from the others, with what was chosen on all."""
    train = feed(30)
    groups = tuple(row // 2 for row in range(30))
    method, lines = taught(tiny, name, train, groups)
    rare = torch.tensor([min(range(3), key=lambda k: (not row[k], train.labels[:, k].sum())) if row.any() else 3
                         for row in train.labels])  # fmt: skip
    fold = deal(rare, groups)
    scores = torch.zeros(30, 3, dtype=torch.float64)
    if name == "zero-shot":
        fold = torch.zeros(30, dtype=torch.int64)
    for number in fold.unique():
        rest, own = (fold != number).nonzero()[:, 0], (fold == number).nonzero()[:, 0]
        one = method if name == "zero-shot" else made(tiny, name, **vars(method.settled()))
        if name != "zero-shot":
            descend(one, one.label_solvers(TrainingFacts(images=len(rest), shots=8)), RepeatedFeed(train, rest))
        with torch.no_grad():
            scores[own] = one.label_scores(whole(RepeatedFeed(train, own))).double()
    slope, offsets = calibrate(scores, train.labels, torch.ones(30, 3, dtype=torch.bool))
    expected = choose_thresholds(
        torch.sigmoid(slope * scores + offsets), train.labels, torch.ones(30, 3, dtype=torch.bool)
    )
    assert lines[-1]["folds"] == (1 if name == "zero-shot" else 5)
    assert list(lines[-1]["thresholds"].values()) == pytest.approx(expected.tolist(), abs=1e-4)
    np.testing.assert_allclose(
        probabilities(method, train), torch.sigmoid(slope * method.label_scores(whole(train)) + offsets), atol=1e-4
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_learned_is_told_apart(tiny, feed, name):
    test = feed(40, seed=1, noise=0.3)
    method, _ = taught(tiny, name, feed(60, noise=0.3))
    p = probabilities(method, test)
    assert ((p >= 0) & (p <= 1)).all()
    right = ((p >= method.label_thresholds.numpy()) == test.labels.numpy()).mean()
    assert right > 0.85 or name == "zero-shot"


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "zero-shot"])
def test_labels_that_no_image_has_or_all_have(tiny, feed, name):
    train = feed(20)
    train.labels[:, 1], train.labels[:, 2] = False, True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method, _ = taught(tiny, name, train)
    p = probabilities(method, feed(10, seed=1))
    given = p >= method.label_thresholds.numpy()
    assert np.isfinite(p).all()
    assert not given[:, 1].any()
    assert given[:, 2].all()


def test_a_single_image_has_the_usual_thresholds(tiny, feed):
    train = feed(1)
    train.labels[:] = torch.tensor([[True, False, False]])
    for name in SETTINGS:
        method, lines = taught(tiny, name, train)
        assert np.isfinite(probabilities(method, train)).all()
        assert lines[-1]["folds"] == 1


def test_labels_are_for_good(tiny, feed):
    method, _ = taught(tiny, "linear-probe", feed(20))
    with pytest.raises(ConfigError, match=r"thresholds for the labels that it has learned \(cat, dog, river\)"):
        method.bind(("cat", "dog"))
    assert method.class_names == LABELS
    method.bind(LABELS)
    with pytest.raises(ConfigError, match="base=zero-shot is for classes"):
        made(tiny, "kernel-ridge", base="zero-shot")


def test_who_gives_labels():
    able = {method.name for method in list_methods() if issubclass(method, Labeller)}
    assert able == {"zero-shot", "linear-probe", "domain-linear-probe", "kernel-ridge", "gda"}
    assert issubclass(get_method(get_method("auto").deputy), Labeller)
