"""The folder that `write_dataset` makes."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

from acclimate.errors import ConfigError, DataError
from acclimate.synthetic import get_domain, render, write_dataset


def test_layout_and_manifest(tmp_path):
    folder = write_dataset("sar", tmp_path / "deep" / "radar", per_class=2, size=32, acquisitions=["x_band_steep"])
    assert folder == tmp_path / "deep" / "radar"
    with open(folder / "labels.csv", encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    classes = get_domain("sar").classes
    assert list(rows[0]) == ["path", "label", "domain", "group"]
    assert len(rows) == 2 * len(classes) == len(list(folder.rglob("*.png")))
    assert {row["label"] for row in rows} == set(classes)
    assert {row["domain"] for row in rows} == {"x_band_steep"}
    assert len({row["group"] for row in rows}) == len(rows)
    row = next(row for row in rows if row["path"].endswith("bridge/0001.png"))
    assert row["path"] == "images/x_band_steep/bridge/0001.png"
    with Image.open(folder / row["path"]) as image:
        assert image.tobytes() == render("sar", "bridge", "x_band_steep", 1, size=32).tobytes()
    assert [path.name for path in folder.parent.iterdir()] == ["radar"]  # nothing left beside it


def test_refuses_a_folder_that_holds_something(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="name a new folder"):
        write_dataset("sar", tmp_path, per_class=1, size=32)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(DataError, match=r"notes\.txt"):
        write_dataset("sar", tmp_path / "notes.txt", per_class=1, size=32)


def test_takes_an_empty_folder(tmp_path):
    target = tmp_path / "empty"
    target.mkdir()
    write_dataset("sar", target, per_class=1, size=32, acquisitions=["x_band_single_look"])
    assert (target / "labels.csv").is_file()


def test_leaves_nothing_when_it_fails_half_way(tmp_path):
    with pytest.raises(ConfigError, match="size 8"):  # noticed at the first image, when folders exist already
        write_dataset("sar", tmp_path / "radar", per_class=1, size=8)
    assert list(tmp_path.iterdir()) == []


def test_checks_names_before_writing(tmp_path):
    with pytest.raises(ConfigError, match="ka_band"):
        write_dataset("sar", tmp_path / "radar", acquisitions=["ka_band"])
    with pytest.raises(ConfigError, match="per_class 0"):
        write_dataset("sar", tmp_path / "radar", per_class=0)
    assert list(tmp_path.iterdir()) == []
