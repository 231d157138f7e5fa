from __future__ import annotations

import pytest
import torch

from acclimate.training.devices import make_accelerator


@pytest.fixture
def accelerator():
    return make_accelerator(torch.device("cpu"))
