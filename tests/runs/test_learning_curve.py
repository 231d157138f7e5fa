"""What twice the labels would bring: parts, errors and the power law, and what a run says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from acclimate.methods.parts import kernels, ridge
from acclimate.runs.learning_curve import FRACTIONS, expectation, learning_curve, power_law
from tests.helpers.command import QUICK, SETTINGS, acclimate
from tests.helpers.runs import quick


def clouds(per_class, classes=3, spread=1.6, seed=0):
    """Points around a centre for each class, their classes, and a unit for each two of them."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    points = 2.0 * np.random.default_rng(9).normal(0, 1, (classes, 4))[labels] + random.normal(
        0, spread, (len(labels), 4)
    )
    return torch.tensor(points), torch.tensor(labels), [f"{row // 2}" for row in range(len(labels))]


def test_what_is_learned_from_parts_is_measured_on_the_rest():
    points, labels, units = clouds(16)
    curve = learning_curve([points], [1.0], labels, units)
    assert curve.sizes.tolist() == [48 * fraction for fraction in FRACTIONS]
    beta = ridge.USUAL_WIDTH / kernels.usual_distance(kernels.squared_distances(points, points))
    kernel = np.exp(-beta * ((points[:, None] - points[None]) ** 2).sum(-1).numpy())
    values = np.eye(3)[labels]
    for draw in (0, 3):
        previous = np.zeros(48, dtype=bool)
        for place in range(len(curve.sizes)):
            rest = curve.counts[draw, place] > 0
            inside = ~rest
            assert all(rest[row] == rest[row ^ 1] for row in range(48))  # units stay whole
            assert not (previous & rest).any()  # parts are nested
            previous = inside
            again = KernelRidge(alpha=ridge.USUAL_STRENGTH, kernel="precomputed")
            again.fit(kernel[np.ix_(inside, inside)], values[inside] - 1 / 3)
            wrong = again.predict(kernel[:, inside]).argmax(1) != labels.numpy()
            assert (curve.misses[draw, place] == (wrong & rest)).all()


def test_errors_are_balanced_over_classes():
    points, labels, units = clouds(12, classes=2, spread=4.0)
    curve = learning_curve([points], [1.0], labels, units)
    draws = len(curve.misses)
    (found,) = curve.errors(np.ones((1, 24)), np.ones((1, draws)))
    for place, error in enumerate(found):
        shares = [
            curve.misses[:, place, labels == label].sum() / curve.counts[:, place, labels == label].sum()
            for label in (0, 1)
        ]
        assert error == pytest.approx(np.mean(shares))


def test_the_power_law_finds_its_own_and_never_expects_less():
    sizes = np.array([2.0, 4.0, 8.0, 12.0])
    errors = np.stack([0.8 * sizes**-0.4, 0.1 * sizes**0.5])
    found = power_law(sizes, errors, 16.0, 32.0)
    assert found[0] == pytest.approx(0.8 * 32.0**-0.4)
    assert found[1] == pytest.approx(power_law(sizes, errors, 16.0, 16.0)[1])


def test_more_labels_are_expected_to_help_as_they_do():
    points, labels, units = clouds(64)
    few = torch.arange(len(labels)) % 64 < 16
    told = expectation(learning_curve([points[few]], [1.0], labels[few], [units[row] for row in few.nonzero()[:, 0]]))
    assert told["images"] == 48
    assert told["then"]["value"] > told["now"]["value"] > told["parts"][0]["balanced_accuracy"]
    new, truth, _ = clouds(300, seed=1)
    double = torch.arange(len(labels)) % 64 < 32
    values = torch.nn.functional.one_hot(labels[double]).double()
    targets = ridge.make_targets(values, torch.full_like(values, 1 / 3))
    choice = ridge.usual_choice(
        [kernels.usual_distance(kernels.squared_distances(points[double], points[double]))], [1.0]
    )
    solved = ridge.regress([points[double]], targets, choice)
    right = (kernels.kernel_of([new], solved.points, choice.betas, choice.shares) @ solved.coefficients).argmax(
        1
    ) == truth
    assert told["then"]["low"] <= float(right.double().mean()) <= told["then"]["high"]
    assert told["then"]["high"] - told["then"]["low"] < 0.3


def test_a_few_images_that_are_all_right_prove_little():
    points, labels, units = clouds(8, spread=0.01)
    told = expectation(learning_curve([points], [1.0], labels, units))
    assert told["parts"][-1]["balanced_accuracy"] == 1.0
    assert told["then"]["low"] == pytest.approx(1 - 3 / 24)
    assert told["then"]["high"] > 0.99


@pytest.mark.parametrize("per_class", [2, 4])
def test_of_two_units_nothing_is_told(per_class):
    points, labels, units = clouds(per_class)
    assert learning_curve([points], [1.0], labels, units) is None


@pytest.mark.parametrize("method", ["coop", "kernel-ridge"])
def test_a_run_tells_it_and_is_the_same_otherwise(pictures, tiny, method):
    settings = {} if method != "coop" else {"settings": {"epochs": 1, "context_tokens": 2}}
    model = quick(pictures, tiny, method=method, shots=6, **({"settings": {}} | settings))
    told = model.record["learning_curve"]
    assert told["images"] == 18
    assert 0 <= told["then"]["low"] <= told["then"]["value"] <= told["then"]["high"] <= 1
    assert "learning_curve" not in quick(pictures, tiny, method="zero-shot", shots=2, settings={}).record


def test_the_commands_tell_it(picture_folder, tiny_folders, tmp_path):
    words = (*QUICK, *SETTINGS, "--out", tmp_path / "run")
    done = acclimate("adapt", picture_folder, "--backbone", tiny_folders["clip"], *words)
    assert "With twice the labels, " in done.out
    assert "parts of the 12 training images" in acclimate("evaluate", tmp_path / "run", picture_folder).out
