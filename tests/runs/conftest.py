from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.helpers.runs import quick


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
