from __future__ import annotations

from types import SimpleNamespace

import pytest

import acclimate

QUICK = {"epochs": 3, "context_tokens": 4, "batch_size": 8, "lr": 0.02}


def quick(data, backbone, **options):
    """A CoOp run of a second."""
    options = {"shots": 4, "domain": "natural", "settings": QUICK, "device": "cpu", **options}
    return acclimate.adapt(data, options.pop("method", "coop"), backbone, **options)


@pytest.fixture(scope="session")
def run(tmp_path_factory, pictures, tiny):
    """A finished run: its folder and the model that `adapt` returned."""
    folder = tmp_path_factory.mktemp("runs") / "coop"
    return SimpleNamespace(folder=folder, model=quick(pictures, tiny, out=folder))


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the finished run, to be damaged."""
    import shutil

    return shutil.copytree(run.folder, tmp_path / "copy")
