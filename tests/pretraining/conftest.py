from __future__ import annotations

import pytest

from acclimate.data.unlabelled import load_unlabelled
from acclimate.runs.pretraining import pretrain_mae
from tests.helpers.tiny_mae import SMALL


@pytest.fixture(autouse=True)
def always_one_thread(one_thread):
    """The number of threads may decide the order of a sum."""


@pytest.fixture(scope="session")
def pictures(picture_folder):
    """Pictures of three classes in train (6 each), val (3) and test (5)."""
    return load_unlabelled(picture_folder)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory, pictures):
    """The folder of a finished encoder, and its record."""
    out = tmp_path_factory.mktemp("mae") / "encoder"
    record = pretrain_mae(pictures, out, settings={**SMALL, "epochs": 30, "lr": 2e-3}, domain="natural", device="cpu")
    return out, record
