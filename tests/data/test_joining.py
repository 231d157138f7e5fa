from __future__ import annotations

import logging
from pathlib import Path

import datasets
import pytest
from PIL import Image

from acclimate.data import join_data, load_data
from acclimate.errors import DataError
from tests.helpers.pictures import make_pictures
from tests.helpers.tables import Row, grid, table

PARTS = {"train": 3, "val": 2, "test": 1}


def test_classes_of_one_name_become_one(tmp_path: Path) -> None:
    first = table(tmp_path / "1", grid("ab", PARTS), "one")
    second = table(tmp_path / "2", grid("bc", PARTS), "two")
    joined = join_data([first, second])
    assert joined.name == "one+two"
    assert joined.class_names == ("a", "b", "c")
    assert joined.counts() == {"a": 6, "b": 12, "c": 6}
    assert joined.train.counts() == {"a": 3, "b": 6, "c": 3}
    assert joined.split_origin == "given"
    labels = {f"one/{key}": name for key, name in zip(first.keys, first.label_names, strict=True)}
    labels |= {f"two/{key}": name for key, name in zip(second.keys, second.label_names, strict=True)}
    assert dict(zip(joined.keys, joined.label_names, strict=True)) == labels
    assert joined.keys == sorted(joined.keys)


def test_keys_groups_and_domains_tell_the_sets_apart(tmp_path: Path) -> None:
    rows = [Row("a", group="7", domain="photo"), Row("b", group="7"), Row("b")]
    joined = join_data([table(tmp_path / name, rows, name) for name in ("one", "two")])
    assert joined.keys == [f"{name}/000{n}.png" for name in ("one", "two") for n in range(3)]
    assert joined.groups == ["one/7", "one/7", "", "two/7", "two/7", ""]
    assert joined.domains == ["photo", "one", "one", "photo", "two", "two"]


def test_sets_that_stay_apart(tmp_path: Path) -> None:
    """Each keeps its classes, whatever is chosen of the joined data; a class of two sets has one label."""
    first, second = (table(tmp_path / name, grid(name, PARTS), name) for name in ("ab", "bc"))
    joined = join_data([second, first], apart=True)
    assert joined.sets == {"bc": ("b", "c"), "ab": ("a", "b")}
    assert [list(joined.sets)[number] for number in joined.set_numbers] == [key[:2] for key in joined.keys]
    test = joined.test.of_set("bc")
    assert (test.name, test.class_names, test.sets) == ("bc", ("b", "c"), {})
    assert test.keys == [f"bc/{key}" for key in second.test.keys]
    assert test.label_names == second.test.label_names
    assert not join_data([first, second]).sets


def test_the_order_of_the_sets_changes_the_name_alone(tmp_path: Path) -> None:
    parts = [table(tmp_path / name, grid(name, PARTS), name) for name in ("ab", "bc")]
    first, second = join_data(parts), join_data(parts[::-1])
    assert (first.name, second.name) == ("ab+bc", "bc+ab")
    assert first.table.equals(second.table)


def test_pictures_are_found_and_made_splits_stay_made(tmp_path: Path) -> None:
    folders = [make_pictures(tmp_path / name, per_class=4, size=(8, 8)) for name in ("here", "there")]
    parts = [load_data(folder) for folder in folders]
    joined = join_data(parts)
    assert joined.split_origin == "made"
    assert [joined.image(row).size for row in (0, len(joined) - 1)] == [(8, 8)] * 2
    assert joined.digest(0) == parts[0].digest(0)


def test_what_was_left_out_stays_known(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "here", per_class=4, size=(8, 8))
    (folder / "cat" / "000.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("a note")
    joined = join_data([load_data(folder, on_corrupt="skip"), table(tmp_path / "two", grid("ab", PARTS), "two")])
    assert joined.skipped == ("here/cat/000.png",)
    assert [file.startswith("here/") for file in joined.other_files] == [True]


def test_spellings_stay_apart_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    parts = [
        table(tmp_path / name, grid(classes, PARTS), name)
        for name, classes in (("one", ["BareLand", "River"]), ("two", ["bare_land", "River"]))
    ]
    with caplog.at_level(logging.WARNING, "acclimate.data"):
        joined = join_data(parts)
    assert joined.class_names == ("BareLand", "River", "bare_land")
    assert "one+two: 1 class is spelled in several ways and stays apart: BareLand = bare_land" in caplog.text


def test_what_cannot_be_joined(tmp_path: Path) -> None:
    one = table(tmp_path / "1", grid("ab", PARTS), "one")
    with pytest.raises(DataError, match="cannot join the data sets one, one: give sets of different names"):
        join_data([one, one])
    with pytest.raises(DataError, match=r"cannot join the data sets \(none\)"):
        join_data([])


def test_images_in_memory_are_joined(tmp_path: Path) -> None:
    one = table(tmp_path / "1", grid("ab", PARTS), "one")
    pixels = [Image.new("RGB", (8, 8), (n, 0, 0)) for n in range(8)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    held = load_data(datasets.Dataset.from_dict({"image": pixels, "label": ["a", "b"] * 4}, features=features))
    joined = join_data([one, held.select([5, 1])])
    assert len(joined) == len(one) + 2
    kept = {key: joined.image_bytes(row) for row, key in enumerate(joined.keys)}
    assert kept == {f"one/{key}": one.image_bytes(row) for row, key in enumerate(one.keys)} | {
        f"{held.name}/{held.keys[row]}": held.image_bytes(row) for row in (1, 5)
    }
