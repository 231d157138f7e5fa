"""Runs of methods that read tiles: saved, loaded, predicted with, and with a domain encoder where one is named."""

from __future__ import annotations

import pytest
import torch

from acclimate import load
from acclimate.errors import RunError
from tests.helpers.runs import quick

SCALES = {"features": "before", "tiles": "mean+spread"}


@pytest.mark.parametrize(
    ("method", "settings", "encoder"),
    [
        ("kernel-ridge", {}, False),
        ("kernel-ridge", {"grid": 3, "base": "zero-shot"}, True),
        ("gda", SCALES, False),
        ("linear-probe", SCALES, False),
        ("domain-linear-probe", {"tiles": "each"}, True),
    ],
)
def test_what_is_loaded_says_the_same_of_files(
    pictures, picture_folder, tiny, domain_encoder, tmp_path, method, settings, encoder
):
    named = {"domain_encoder": domain_encoder} if encoder else {}
    cache = {"cache_dir": tmp_path / "cache"}
    model = quick(pictures, tiny, method=method, settings=settings, out=tmp_path / "run", **named, **cache)
    assert model.record["metrics"]["accuracy"]["value"] > 0.5
    assert (
        model.record["cost"]["seconds"]["image features" if method != "domain-linear-probe" else "domain features"] > 0
    )
    loaded = load(tmp_path / "run", tiny, domain_encoder=named.get("domain_encoder"))
    assert loaded.method.inputs == model.method.inputs
    files = [picture_folder / "test" / "cat" / f"00{number}.png" for number in range(3)]
    one, two = model.predict(files), loaded.predict(files, batch_size=2)
    for first, second in zip(one, two, strict=True):
        assert first.label == second.label
        torch.testing.assert_close(
            torch.tensor(first.probabilities), torch.tensor(second.probabilities), atol=1e-5, rtol=1e-4
        )
    measured = loaded.evaluate(pictures, split="test")
    assert measured["accuracy"]["value"] == pytest.approx(model.record["metrics"]["accuracy"]["value"])


def test_a_domain_encoder_is_optional(pictures, tiny, domain_encoder, tmp_path):
    without = quick(pictures, tiny, method="kernel-ridge", settings={}, out=tmp_path / "without")
    beside = quick(
        pictures, tiny, method="kernel-ridge", settings={}, out=tmp_path / "beside", domain_encoder=domain_encoder
    )
    assert without.record["domain_encoder"] is None
    assert beside.record["domain_encoder"]["width"] == domain_encoder.width
    assert beside.method.points.shape[1] > without.method.points.shape[1]
    assert load(tmp_path / "without", tiny).method.domain_encoder is None
    with pytest.raises(RunError, match="kernel-ridge cannot do without its domain encoder"):
        load(tmp_path / "beside", tiny, domain_encoder="none")
