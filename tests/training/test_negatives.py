"""Negatives: another class, drawn uniformly, the same for the same seed and epoch, and none where there is none."""

import torch

from acclimate.training.inputs.negatives import NegativeFeed


def feed(labels, seed=1):
    labels = torch.tensor(labels)
    return NegativeFeed({"negative_tokens": torch.arange(len(labels)).float()[:, None]}, labels, seed)


def test_a_negative_is_never_of_the_same_class():
    labels = [0, 0, 1, 2, 2, 2]
    for epoch in range(50):
        rows = feed(labels).rows(torch.arange(6), epoch)
        assert all(labels[row] != labels[other] for row, other in enumerate(rows.tolist()))


def test_negatives_are_drawn_from_all_others_and_change_with_epoch_and_seed():
    one = feed([0, 0, 1, 1, 2])
    drawn = {int(one.rows(torch.tensor([0]), epoch)) for epoch in range(60)}
    assert drawn == {2, 3, 4}
    index = torch.arange(5)
    assert torch.equal(one.rows(index, 3), feed([0, 0, 1, 1, 2]).rows(index, 3))
    assert any(not torch.equal(one.rows(index, e), feed([0, 0, 1, 1, 2], seed=2).rows(index, e)) for e in range(5))
    assert torch.equal(one.rows(index, 3)[[4, 0]], one.rows(torch.tensor([4, 0]), 3))  # whatever is in the batch


def test_the_fields_are_those_of_the_negative():
    one = feed([0, 1, 1])
    batch = one.batch(torch.tensor([1, 2]), 0)
    assert batch.negative_tokens[:, 0].tolist() == [0.0, 0.0]
    assert batch.negative_mask.tolist() == [True, True]


def test_one_class_alone_has_no_negatives():
    batch = feed([0, 0]).batch(torch.tensor([1]), 0)
    assert batch.negative_mask.tolist() == [False]


def test_a_negative_is_of_the_same_data_set():
    """Of another class and the same instruction; where a set has one class, there is none."""
    labels, sets = torch.tensor([0, 1, 0, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 1, 2])
    negatives = NegativeFeed({"negative_tokens": torch.zeros(6, 1)}, labels, 1, sets)
    drawn = [set() for _ in labels]
    for epoch in range(60):
        for row, other in enumerate(negatives.rows(torch.arange(6), epoch).tolist()):
            drawn[row].add(other)
    assert drawn == [{1}, {0}, {3, 4}, {2, 4}, {2, 3}, {-1}]
