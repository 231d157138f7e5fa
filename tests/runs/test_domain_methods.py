"""GDPL, DPLQ and DCPL from `adapt` to a folder and back, with a domain encoder of each kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import acclimate
from acclimate.errors import ConfigError, RunError
from acclimate.training.feeding import evaluation_feed
from acclimate.training.inputs import Given
from tests.helpers.runs import quick
from tests.helpers.tiny_mae import tiny_mae

SETTINGS = {"epochs": 2, "lr": 0.01, "warmup_epochs": 0, "batch_size": 6}
pytestmark = pytest.mark.parametrize("method", ["gdpl", "dplq", "dcpl"])


def logits_of(model, data):
    method = model.method.eval()
    feed = evaluation_feed(method.inputs.prediction, data.test, Given(model.backbone, method.domain_encoder))
    with torch.no_grad():
        return method.logits(feed.batch(torch.arange(len(feed))))


@pytest.mark.parametrize("encoder", ["self", "folder"])
def test_loaded_is_what_was_saved(method, encoder, pictures, tiny, domain_folder, tmp_path):
    named = domain_folder if encoder == "folder" else "self"
    settings = {**SETTINGS, "noise": "none"}
    model = quick(pictures, tiny, method=method, settings=settings, domain_encoder=named, out=tmp_path / "run")
    loaded = acclimate.load(tmp_path / "run", tiny)
    for name, tensor in model.method.learned_state().items():
        assert torch.equal(loaded.method.learned_state()[name], tensor), name
    assert vars(loaded.method.config) == vars(model.method.config)
    assert torch.equal(logits_of(loaded, pictures), logits_of(model, pictures))
    assert loaded.evaluate(pictures.test) == model.record["metrics"]
    rows = loaded.predict(pictures.test.paths[:3], batch_size=2)
    expected = logits_of(model, pictures).softmax(-1)[:3]
    np.testing.assert_allclose(np.stack([row.probabilities for row in rows]), expected, atol=1e-4)
    assert json.loads((tmp_path / "run/adapter.json").read_text())["domain_encoder"]["id"] == str(named)
    assert (tmp_path / "run/adapter.safetensors").stat().st_size < 2**17


def test_released_keeps_its_settings(method, pictures, tiny, domain_encoder, tmp_path):
    settings = {**SETTINGS, "variant": "released"}
    model = quick(pictures, tiny, method=method, settings=settings, domain_encoder=domain_encoder, out=tmp_path / "run")
    config = acclimate.load(tmp_path / "run", tiny).method.config
    assert config == model.method.config
    assert (config.variant, config.noise, config.noise_std, config.lr) == ("released", "always", None, 0.01)


def test_swapped_and_missing_domain_encoders(method, pictures, tiny, domain_encoder, tmp_path):
    with pytest.raises(ConfigError, match=f"{method} reads the features of a domain encoder"):
        quick(pictures, tiny, method=method, settings=SETTINGS, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    quick(pictures, tiny, method=method, settings=SETTINGS, domain_encoder=domain_encoder, out=tmp_path / "run")
    for other in ("self", tiny_mae(tmp_path / "other", seed=1)):
        with pytest.raises(RunError, match="name the original with `domain_encoder`") as caught:
            acclimate.load(tmp_path / "run", tiny, domain_encoder=other)
        assert "\n" not in str(caught.value)
