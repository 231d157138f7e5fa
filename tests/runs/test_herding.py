"""Uncertainty herding against its objective, computed by loops."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from acclimate.runs.herding import herd, kernel_radius, margin_uncertainty, similarities


def coverage(points, weights, chosen, radius):
    """The objective, image by image."""
    return sum(
        float(weight) * max(np.exp(-float(((point - points[one]) ** 2).sum()) / radius**2) for one in chosen)
        for point, weight in zip(points, weights, strict=True)
    )


@pytest.mark.parametrize("labelled", [[], [3, 8]])
def test_each_choice_adds_most_to_the_coverage(labelled):
    random = torch.Generator().manual_seed(0)
    points, weights = torch.randn(20, 3, generator=random).double(), torch.rand(20, generator=random).double()
    found = list(islice(herd(points, weights, labelled, 1.5), 6))
    known = list(labelled)
    for row in found:
        gains = {one: coverage(points, weights, [*known, one], 1.5) for one in range(20) if one not in known}
        assert row == max(gains, key=gains.get)
        known.append(row)


def test_every_image_comes_once_and_labelled_ones_never():
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    assert sorted(herd(points, torch.ones(9), [2, 4], 1.0)) == [0, 1, 3, 5, 6, 7, 8]
    refused = list(herd(points, torch.ones(9), [], 1.0, lambda row, chosen: row % 2 == 0))
    assert sorted(refused) == [1, 3, 5, 7]


def test_clusters_take_turns_and_sure_ones_come_last():
    random = torch.Generator().manual_seed(2)
    clusters = [centre + 0.1 * torch.randn(10, 2, generator=random) for centre in (0.0, 5.0, 10.0)]
    points, weights = torch.cat(clusters), torch.tensor([0.9] * 10 + [0.5] * 10 + [0.0] * 10)
    first = list(islice(herd(points, weights, [], 1.0), 3))
    assert [row // 10 for row in first[:2]] == [0, 1]
    assert first[2] // 10 != 2
    assert 0 < kernel_radius(points) < 10
    typical = [float(similarities(points[[row]], points[row // 10 * 10 :][:10], 1.0).sum()) for row in range(30)]
    assert first[0] == int(np.argmax(typical[:10]))


def test_the_uncertainty_is_that_of_the_lead():
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [0.4, 0.2, 0.4]])
    torch.testing.assert_close(margin_uncertainty(probabilities), torch.tensor([0.8, 0.0, 1.0]))
    assert margin_uncertainty(torch.ones(2, 1)).tolist() == [0.0, 0.0]
