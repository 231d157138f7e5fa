from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.tiny_vlms import FAMILIES, load_vlm_pair

QUICK = {"llava", "qwen3_vl", "gemma3-near"}  # the plainest, and two with positions and masks of their own


def pytest_collection_modifyitems(items):
    """The other families are tested with all tests."""
    for item in items:
        here = hasattr(item, "callspec") and item.path.parent == Path(__file__).parent  # all tests come by
        if here and item.callspec.params.get("pair", "llava") not in QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def vlm_pairs(tmp_path_factory):
    """Pairs by family, made when first asked for."""
    made = {}

    def get(name):
        if name not in made:
            make, model_class, inputs = FAMILIES[name]
            made[name] = load_vlm_pair(make(tmp_path_factory.mktemp(name)), model_class, inputs)
        return made[name]

    return get


FEW = ("llava", "gemma3-near", "qwen3_vl")  # plain, windows and masks of its own, positions and layers of its own


@pytest.fixture(params=[name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES])
def pair(request, vlm_pairs):
    """A tiny generative model loaded by us, and the same folder loaded by transformers alone.

    Of every family; without the slow tests, of those that differ most.
    """
    return vlm_pairs(request.param)


@pytest.fixture
def llava(vlm_pairs):
    return vlm_pairs("llava")
