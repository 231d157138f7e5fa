from __future__ import annotations

import shutil

import pytest

import acclimate
from tests.helpers.runs import quick
from tests.helpers.serving import serving


@pytest.fixture(scope="session")
def run(tmp_path_factory, pictures, tiny):
    """A run that has sets, p-values, and reads tiles."""
    out = tmp_path_factory.mktemp("serve") / "animals"
    quick(pictures, tiny, method="kernel-ridge", settings={}, shots="all", out=out)
    return out


@pytest.fixture(scope="session")
def model(run, tiny):
    return acclimate.load(run, tiny)


@pytest.fixture(scope="session")
def plain(pictures, tiny):
    """Zero-shot, without what tells sets, as runs of earlier releases are."""
    model = quick(pictures, tiny, method="zero-shot", settings={})
    model.method.trust = None
    return model


@pytest.fixture(scope="session")
def files(picture_folder, tmp_path_factory):
    """The test images, 15 of them, each with a name of its own."""
    folder = tmp_path_factory.mktemp("sent")
    found = sorted((picture_folder / "test").rglob("*.png"))
    return [shutil.copy(path, folder / f"{path.parent.name}-{path.name}") for path in found]


@pytest.fixture(scope="module")
def server(model):
    with serving({"animals": model}) as client:
        yield client
