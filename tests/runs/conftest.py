from __future__ import annotations

from types import SimpleNamespace

import pytest

from acclimate.backbones import load_vlm
from tests.helpers.pictures import make_questions
from tests.helpers.runs import quick
from tests.helpers.tiny_vlms import tiny_llava


@pytest.fixture(scope="session")
def run(tmp_path_factory, pictures, tiny):
    """A finished run: its folder and the model that `adapt` returned."""
    folder = tmp_path_factory.mktemp("runs") / "coop"
    return SimpleNamespace(folder=folder, model=quick(pictures, tiny, out=folder))


@pytest.fixture(scope="session")
def vlm(tmp_path_factory):
    """A tiny generative model."""
    return load_vlm(tiny_llava(tmp_path_factory.mktemp("vlm") / "llava"))


@pytest.fixture(scope="session")
def asked(tmp_path_factory, caption_folder):
    """A folder of questions about pictures."""
    return make_questions(caption_folder, tmp_path_factory.mktemp("questions") / "asked")


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the finished run, to be damaged."""
    import shutil

    return shutil.copytree(run.folder, tmp_path / "copy")
