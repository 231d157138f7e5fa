from __future__ import annotations

import pytest

from tests.helpers.command import QUICK, SETTINGS, acclimate


@pytest.fixture(scope="session")
def adapted(tmp_path_factory, picture_folder, tiny_folders):
    """What `acclimate adapt` says on a real folder of CLIPModel.save_pretrained, and the run that it leaves."""
    run = tmp_path_factory.mktemp("cli") / "run"
    done = acclimate("adapt", picture_folder, "--backbone", tiny_folders["clip"], *QUICK, *SETTINGS, "--out", run)
    return run, done


@pytest.fixture(scope="session")
def run(adapted):
    return adapted[0]
