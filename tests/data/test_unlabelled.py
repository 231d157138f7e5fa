from __future__ import annotations

import pytest

from acclimate.data import load_data
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import DataError
from tests.helpers.pictures import make_pictures, make_split_pictures


def test_labelled_data_are_read_as_ever(tmp_path):
    folder = make_pictures(tmp_path / "data")
    assert load_unlabelled(folder).keys == load_data(folder).keys
    assert load_unlabelled(folder).splits == load_data(folder).splits
    make_pictures(tmp_path / "one", ("cat",))
    assert load_unlabelled(tmp_path / "one").class_names == ("cat",)


def test_a_bare_folder(tmp_path):
    make_pictures(tmp_path, ("scans",), 4)
    (tmp_path / "scans/notes.txt").write_text("x")
    data = load_unlabelled(tmp_path / "scans")
    assert data.keys == ["000.png", "001.png", "002.png", "003.png"]
    assert set(data.splits) == {""}
    assert data.name == "scans"
    assert data.other_files == ("notes.txt",)
    assert data.image(0).size == (36, 32)


def test_splits_without_classes(tmp_path):
    folder = make_pictures(tmp_path / "data", ("train", "valid"), 3)
    data = load_unlabelled(folder)
    assert (len(data.train), len(data.val)) == (3, 3)


def test_folders_that_mean_nothing(tmp_path):
    folder = make_split_pictures(tmp_path / "data", splits={"monday": 2, "tuesday": 2})
    data = load_unlabelled(folder, layout="plain")
    assert len(data) == 12
    assert set(data.splits) == {""}


def test_a_pattern(tmp_path, monkeypatch):
    make_pictures(tmp_path / "data", ("a", "b"), 3)
    monkeypatch.chdir(tmp_path)
    assert load_unlabelled("data/*/000.png").keys == ["data/a/000.png", "data/b/000.png"]
    assert len(load_unlabelled("data/**/*.png")) == 6


def test_corrupt_pictures(tmp_path):
    make_pictures(tmp_path, ("scans",), 3)
    (tmp_path / "scans/000.png").write_bytes(b"no image")
    data = load_unlabelled(tmp_path / "scans", on_corrupt="skip")
    assert data.skipped == ("000.png",)
    assert len(data) == 2
    with pytest.raises(DataError, match=r"000\.png.* with `on_corrupt='skip'`$"):
        load_unlabelled(tmp_path / "scans").image(0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing", "no such file or folder"),
        ("empty", "it is empty"),
        ("nothing/*.png", "no file matches"),
        ("", "empty"),
    ],
)
def test_bad_sources(tmp_path, source, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=words):
        load_unlabelled(tmp_path / source if source else "")
