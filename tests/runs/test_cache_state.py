"""A run is the same bit for bit whatever the feature cache holds when it begins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.caches import rows_in, thinned
from tests.helpers.runs import quick

CASES = {
    "image features": ("clip-adapter", {"epochs": 2}),
    "augmented views": ("zs-lp", {"epochs": 2, "views": 2}),
    "pooled features": ("prolip", {"epochs": 2}),
    "domain features": ("domain-linear-probe", {}),
    "domain features of fresh views": ("gdpl", {"epochs": 2, "warmup_epochs": 0, "batch_size": 6}),
    "tiles": ("kernel-ridge", {}),
    "sentences": ("aape", {"epochs": 2}),
}
QUICK = ("augmented views",)


@pytest.mark.parametrize(
    "case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_empty_half_filled_or_full(case, pictures, tiny, domain_encoder, tmp_path, one_thread):
    method, settings = CASES[case]
    encoder = domain_encoder if "domain" in case else None

    def run(cache):
        model = quick(pictures, tiny, method=method, settings=settings, domain_encoder=encoder, cache_dir=cache)
        return model, [row.probabilities for row in model.predict(pictures.test.paths)]

    first, rows = run(tmp_path / "full")
    count = rows_in(tmp_path / "full")
    assert count > 8
    half = thinned(tmp_path / "full", tmp_path / "half", seed=1)
    assert 0 < rows_in(half) < count
    for state in (half, tmp_path / "full", None):
        other, again = run(state)
        check_same(first, other)
        np.testing.assert_array_equal(again, rows)
    assert rows_in(half) == count


def check_same(one, two):
    left, right = one.method.learned_state(), two.method.learned_state()
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
    assert all(one.record[name] == two.record[name] for name in ("metrics", "baselines"))
    assert one.record.get("reading") == two.record.get("reading")
