"""`Batch`: a value with named fields."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from acclimate.errors import MissingInputError
from acclimate.training.batch import Batch


def test_fields():
    batch = Batch(pixels=torch.zeros(2, 3, 4, 4), labels=torch.tensor([0, 1]), domains=None)
    assert ("labels" in batch, "domains" in batch) == (True, False)
    assert len(batch) == 2
    assert len(Batch()) == 0
    assert repr(batch) == "Batch(pixels (2, 3, 4, 4), labels (2,))"
    less = batch.without("labels", "index")
    assert ("labels" in less, "pixels" in less) == (False, True)
    assert "labels" in batch
    with pytest.raises(ValueError, match=r"differ in length: \{'labels': 2, 'index': 3\}"):
        Batch(labels=torch.zeros(2), index=torch.zeros(3))


def test_on_another_device():
    batch = Batch(pixels=torch.zeros(2, 3, 4, 4), labels=torch.tensor([0, 1]))
    moved = batch.to("meta")
    assert len(moved) == 2
    assert moved.pixels.device.type == moved.labels.device.type == "meta"
    assert batch.pixels.device.type == "cpu"
    assert "image_features" not in moved


def test_a_missing_field_names_the_reader_and_what_is_there():
    batch = Batch("me", labels=torch.tensor([3, 4]), index=torch.tensor([0, 1]))
    copies = [copy.copy(batch), copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))]
    for other in (batch, batch.to("cpu"), batch.without("none"), Batch() | batch, *copies):
        assert other.labels.tolist() == [3, 4]
        assert not hasattr(other, "domains")
        with pytest.raises(MissingInputError, match=r"^me, but asks for 'domains', and the batch holds labels, index;"):
            _ = other.domains
    with pytest.raises(
        MissingInputError, match=r"^a method asks for 'pixels', and the batch holds nothing; name it in"
    ):
        _ = Batch().pixels


def test_two_batches_of_the_same_images_become_one():
    one = Batch(pixels=torch.zeros(2, 3, 4, 4), labels=torch.tensor([0, 1]))
    both = one | Batch(domain_features=torch.ones(2, 5), labels=torch.tensor([7, 7]))
    assert both.labels.tolist() == [0, 1]
    assert both.pixels is one.pixels
    assert both.domain_features.shape == (2, 5)
    with pytest.raises(ValueError, match="differ in length"):
        one | Batch(domain_features=torch.ones(3, 5))
