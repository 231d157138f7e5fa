"""What weighs the parts of an ensemble: folds, losses, temperatures and greedy selection, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss as reference_log_loss

from acclimate.methods.parts import ensembles
from acclimate.methods.parts.folds import deal, judged


def scores_of(labels, classes, sure, seed):
    """Log-probabilities that lean towards the labels, more so the surer."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (len(labels), classes))
    logits[np.arange(len(labels)), labels] += sure
    return torch.tensor(logits).log_softmax(-1)


def test_every_class_is_in_every_fold_and_groups_are_in_one():
    labels = torch.tensor([0] * 10 + [1] * 10)
    groups = [row // 2 for row in range(20)]
    fold = deal(labels, groups)
    assert fold.max() == 4
    for label in (0, 1):
        assert sorted(fold[labels == label].tolist()) == sorted([0, 1, 2, 3, 4] * 2)
    assert all(len(set(fold[2 * group : 2 * group + 2].tolist())) == 1 for group in range(10))
    assert torch.equal(fold, deal(labels, groups))


@pytest.mark.parametrize(("counts", "folds"), [((1, 1, 1), 1), ((2, 2), 2), ((1, 4), 4), ((16, 16), 5)])
def test_folds_are_as_many_as_images_allow(counts, folds):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    fold = deal(labels)
    assert len(fold.unique()) == folds
    alone = torch.tensor([count == 1 for count in counts])[labels]
    assert torch.equal(judged(labels, fold), ~alone)


def test_a_class_of_one_group_is_not_judged():
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    fold = deal(labels, [0, 0, 0, 1, 2, 3])
    assert judged(labels, fold).tolist() == [False] * 3 + [True] * 3


def test_log_loss_counts_classes_the_same():
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2])
    scores = scores_of(labels.numpy(), 3, 1.0, 0)
    weights = 1 / np.bincount(labels)[labels]
    expected = reference_log_loss(labels, scores.exp(), sample_weight=weights)
    assert ensembles.log_loss(scores, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_takes_back_what_logits_were_stretched_by(factor):
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (4000, 3))
    truth = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = torch.tensor([random.choice(3, p=row) for row in truth])
    found = ensembles.temperature(torch.tensor(logits) * factor, labels)
    assert abs(np.log(found / factor)) < np.log(1.2)


def test_fused_probabilities_are_the_weighted_mean():
    labels = np.arange(6) % 3
    scores = torch.stack([scores_of(labels, 3, 1.0, seed) for seed in range(3)])
    weights = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    fused = ensembles.fuse(scores, weights)
    torch.testing.assert_close(fused.exp(), (scores[0].exp() + scores[2].exp()) / 2)


def test_selection_is_greedy():
    """Each step adds what lowers the loss most; checked against a loop over probabilities."""
    labels = torch.arange(90) % 3
    scores = torch.stack([scores_of(labels.numpy(), 3, sure, seed) for seed, sure in enumerate((0.0, 1.5, 1.2, 0.2))])
    counts = np.ones(4)
    plain = scores.exp().numpy()

    def loss(some):
        mean = (some[:, None, None] * plain).sum(0) / some.sum()
        return -np.mean(np.log(mean[np.arange(90), labels]))

    for _ in range(9):
        tried = [loss(counts + step) for step in np.eye(4)]
        if min(tried) > loss(counts) - ensembles.GAIN:
            break
        counts[int(np.argmin(tried))] += 1
    found = ensembles.select(scores, labels, [1.0] * 4)
    np.testing.assert_allclose(found, counts / counts.sum(), atol=1e-12)
    assert found[1] > found[0]


def test_few_images_leave_the_first_weights():
    labels = torch.arange(9) % 3
    scores = torch.stack([scores_of(labels.numpy(), 3, sure, seed) for seed, sure in enumerate((0.0, 4.0))])
    assert ensembles.select(scores, labels, [3.0, 1.0]).tolist() == [0.75, 0.25]
