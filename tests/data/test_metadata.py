"""Wrapped folders, `metadata.csv` of Hugging Face image folders, and classes that are spelled in several ways."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from acclimate.data import check_data, load_data
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import DataError
from tests.helpers.pictures import make_pictures, make_split_pictures


def table(folder: Path, label: str = "label", **more: str) -> Path:
    """Write metadata.jsonl about the images in a folder, labelled by their folders."""
    files = sorted(folder.rglob("*.png"))
    rows = [{"file_name": f.relative_to(folder).as_posix(), label: f"a {f.parent.name}", **more} for f in files]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_labels_of_metadata_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = table(make_pictures(tmp_path / "set", ("cat", "dog"), 4), domain="day")
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(folder)
    assert data.class_names == ("a cat", "a dog")
    assert (data.name, data.domain_names, len(data), data.split_origin) == ("set", ("day",), 8, "made")
    assert "reading the column label of metadata.jsonl; `layout='class'` reads the folders" in caplog.text
    assert load_data(folder, layout="class").class_names == ("cat", "dog")
    assert load_data(folder, layout="manifest").class_names == ("a cat", "a dog")
    (folder / "metadata.jsonl").write_text('{"file_name": "none.png", "label": "a"}')
    with pytest.raises(DataError, match=r"metadata.jsonl row 1: no such image 'none.png'"):
        load_data(folder)


def test_metadata_of_each_split(tmp_path: Path) -> None:
    folder = make_split_pictures(tmp_path / "set", ("cat", "dog"), {"train": 3, "test": 2})
    for split in ("train", "test"):
        table(folder / split)
    data = load_data(folder)
    assert data.class_names == ("a cat", "a dog")
    assert (len(data.train), len(data.test), data.split_origin) == (6, 4, "given")
    assert data.keys[0] == "test/cat/000.png"


def test_metadata_without_labels_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load_data(table(make_pictures(tmp_path / "set", ("cat", "dog"), 4), "text"))
    assert data.class_names == ("cat", "dog")
    (record,) = caplog.records
    text = "metadata.jsonl is not used, for among its columns file_name, text there is no label; classes are read from"
    assert text in record.getMessage()
    assert "unused_table" in {finding.kind for finding in check_data(data).findings}


def test_metadata_that_say_too_much_or_too_little(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "set" / "train", ("cat", "dog"), 4).parent
    file = folder / "train" / "metadata.csv"
    file.write_text("file_name,class,category\ncat/000.png,a,b\n")
    with pytest.raises(DataError, match=r"^train/metadata.csv: class, category may each be the column of labels; rena"):
        load_data(folder)
    file.write_text("file_name,class,label\ncat/000.png,a,b\ndog/000.png,a,c\n")
    assert load_data(folder).class_names == ("b", "c")
    flat = make_pictures(tmp_path / "flat", (".",), 4)
    (flat / "metadata.csv").write_text("image,label\n000.png,a\n")
    with pytest.raises(DataError, match=r"the images lie directly in this folder; .* there is no file_name$"):
        load_data(flat)
    (flat / "metadata.csv").write_text("file_name,label\n000.png,\n")
    with pytest.raises(DataError, match=r"^metadata.csv row 2: the label is empty; fill it in or remove the row"):
        load_data(flat)


@pytest.mark.parametrize("inner", ["my_data", "My-Data-v2", "my", "images", "my_data/images"])
def test_the_only_folder_is_stepped_into(tmp_path: Path, caplog: pytest.LogCaptureFixture, inner: str) -> None:
    make_pictures(tmp_path / "my_data" / inner, ("cat", "dog"), 4)
    make_pictures(tmp_path / "my_data" / "__MACOSX", ("cat",), 1)
    (tmp_path / "my_data" / "README.txt").write_text("x")
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(tmp_path / "my_data")
    assert data.keys == load_data(tmp_path / "my_data" / inner).keys
    assert data.class_names == ("cat", "dog")
    assert "the only folder in it is read" in caplog.text
    assert load_unlabelled(tmp_path / "my_data").keys == data.keys


def test_a_class_or_a_split_alone_is_not_stepped_into(tmp_path: Path) -> None:
    make_pictures(tmp_path / "pets" / "cat", ("old", "young"), 4)
    assert load_data(tmp_path / "pets", allow_one_class=True).class_names == ("cat",)
    make_split_pictures(tmp_path / "more", splits={"train": 4})
    assert load_data(tmp_path / "more").keys[0] == "train/cat/000.png"
    make_pictures(tmp_path / "images" / "images", ("a", "b"), 4)
    assert load_data(tmp_path / "images", layout="class", allow_one_class=True).class_names == ("images",)


def test_classes_of_several_spellings_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pictures(tmp_path / "set", ("Limestone", "limestone", "lime stone", "-1", "1", "1.0", "10"), 4)
    data = load_data(tmp_path / "set")
    assert len(data.class_names) == 7
    (record,) = caplog.records
    shown = "1 class is spelled in several ways and stays apart: Limestone = lime stone = limestone; spell alike what"
    assert shown in record.getMessage()
    assert [finding.kind for finding in check_data(data).findings].count("spelling") == 1
