"""`--method spg`: prompt labels of the domains, and what is said where there are none."""

from __future__ import annotations

import json

import pytest

from tests.helpers.command import QUICK, acclimate
from tests.helpers.pictures import make_split_pictures

SPG = ("--method", "spg", "--set", "label_epochs=2", "--set", "epochs=2", "--set", "test_noise=mean")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Pictures in folders domain/class."""
    return make_split_pictures(tmp_path_factory.mktemp("scenes") / "scenes", splits={"day": 8, "night": 8})


def test_adapt_and_predict(scenes, tiny_folders, tmp_path):
    run = tmp_path / "run"
    done = acclimate("adapt", scenes, "--backbone", tiny_folders["clip"], *SPG, *QUICK, "--out", run)
    assert done.code == 0, done.err
    assert "prerequisites" in done.out  # their time is told apart from that of the method
    rows = [json.loads(line) for line in acclimate("predict", run, scenes / "day", "--json").out.splitlines()]
    assert len(rows) == 24
    assert all(row["spread"] > 0 for row in rows)


def test_pictures_without_domains(picture_folder, tiny_folders, tmp_path):
    done = acclimate(
        "adapt", picture_folder, "--backbone", tiny_folders["clip"], *SPG, *QUICK, "--out", tmp_path / "run"
    )
    assert done.code == 2
    assert done.err.splitlines()[-1].endswith("name none; give a column `domain`, or folders domain/class/image")


def test_labels_that_are_not_there(scenes, tiny_folders, tmp_path):
    words = ("adapt", scenes, "--backbone", tiny_folders["clip"], *SPG, *QUICK, "--out", tmp_path / "run")
    done = acclimate(*words, "--set", f"label_files={tmp_path / 'no'}")
    assert done.code == 2
    assert f"{tmp_path / 'no'}: no prompt label of the domain 'day'; give one file for each domain" in done.err
