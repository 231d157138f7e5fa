from __future__ import annotations

import pytest

from acclimate.bench import plan, read_spec
from acclimate.bench.jobs import load_source
from tests.helpers.benches import entries, write_spec
from tests.helpers.pictures import make_split_pictures


@pytest.fixture(scope="session")
def animals(tmp_path_factory):
    """Pictures of four classes in train, val and test."""
    return make_split_pictures(tmp_path_factory.mktemp("bench") / "animals", ("cat", "dog", "mill", "river"))


@pytest.fixture
def spec(tmp_path, animals, tiny_folders):
    """What `read_spec` makes of a small spec with changes."""

    def read(**changes):
        return read_spec(write_spec(tmp_path / "spec.yaml", entries(animals, tiny_folders["clip"], **changes)))

    return read


@pytest.fixture
def planned(spec, tiny):
    """The jobs of a small spec with changes."""

    def make(backbone=tiny, **changes):
        read = spec(**changes)
        sets = {name: load_source(name, source) for name, source in read.data.items()}
        return plan(read, dict.fromkeys(read.backbones, backbone), sets)

    return make
