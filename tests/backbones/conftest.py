from __future__ import annotations

import shutil

import pytest

from tests.helpers.pairs import VARIANTS, load_pair
from tests.helpers.tiny_backbones import tiny_clip


@pytest.fixture(scope="session", params=VARIANTS)
def pair(request, tmp_path_factory):
    """A tiny backbone loaded by us, and the same folder loaded by transformers alone."""
    make, options = VARIANTS[request.param]
    return load_pair(make(tmp_path_factory.mktemp(request.param), **options))


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    return load_pair(tiny_clip(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """Folder of a tiny CLIP."""
    return tiny_clip(tmp_path_factory.mktemp("original"))


@pytest.fixture
def folder(original, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(original, tmp_path / "model")
