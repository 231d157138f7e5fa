from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from acclimate.metrics import area_under_roc, left_out_distances, nearest_distances, p_values


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(30, 4))


def test_distances(points):
    new = points[:5] + 0.1
    np.testing.assert_allclose(nearest_distances(new, points), cdist(new, points).min(axis=1) ** 2, atol=1e-12)
    square = cdist(points, points) ** 2
    np.fill_diagonal(square, np.inf)
    np.testing.assert_allclose(left_out_distances(points), square.min(axis=1), atol=1e-12)
    groups = [f"g{row // 3}" for row in range(30)]
    apart = np.where(np.arange(30)[:, None] // 3 == np.arange(30) // 3, np.inf, square)
    np.testing.assert_allclose(left_out_distances(points, groups), apart.min(axis=1), atol=1e-12)
    assert left_out_distances(points[:1]).tolist() == [np.inf]
    assert np.isinf(left_out_distances(points, ["one"] * 30)).all()


def test_p_values_are_shares_of_left_out_images_that_lie_as_far():
    random = np.random.default_rng(1)
    left_out, new = random.integers(0, 6, 25) / 2, random.integers(0, 8, 40) / 2  # with many ties
    expected = [(1 + sum(one >= d for one in left_out)) / 26 for d in new]
    np.testing.assert_allclose(p_values(new, left_out), expected)
    groups = [f"g{row % 7}" for row in range(25)]
    sizes = {group: groups.count(group) for group in groups}
    expected = [
        (1 + sum((one >= d) / sizes[group] for one, group in zip(left_out, groups, strict=True))) / 8 for d in new
    ]
    np.testing.assert_allclose(p_values(new, left_out, groups), expected)
    assert p_values([0.0, 9.0], [np.inf]).tolist() == [1.0, 1.0]  # one image tells nothing


def test_of_known_images_few_are_called_unknown():
    """p < a for at most a share a of images of the same kind, groups or not."""
    random, below = np.random.default_rng(2), []
    for _ in range(300):
        centres = random.normal(size=(41, 2))
        known = np.concatenate([centres[number] + 0.01 * random.normal(size=(3, 2)) for number in range(40)])
        groups = [f"g{number}" for number in range(40) for _ in range(3)]
        (p,) = p_values(nearest_distances(centres[40:], known), left_out_distances(known, groups), groups)
        below.append(p < 0.1)
    assert np.mean(below) <= 0.1 + 3 * (0.1 * 0.9 / 300) ** 0.5


def test_area_under_roc_is_that_of_scikit_learn():
    random = np.random.default_rng(3)
    for _ in range(5):
        low, high = random.integers(0, 9, 30), random.integers(2, 12, 20)
        expected = roc_auc_score([0] * 30 + [1] * 20, [*low, *high])
        assert area_under_roc(low, high) == pytest.approx(expected)
