from __future__ import annotations

import shutil

import pytest

from acclimate.data import load_data
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import ConfigError, DataError
from acclimate.pretraining.selection import choose_images
from tests.helpers.pictures import make_pictures, make_split_pictures


def test_the_training_part_of_adapt(tmp_path):
    folder = make_pictures(tmp_path / "data", per_class=10)
    chosen = choose_images(load_unlabelled(folder))
    data = load_data(folder)
    assert chosen.train.keys == data.train.keys
    assert chosen.shown.keys == data.val.keys
    assert (chosen.part, len(data.train)) == ("train", 15)


def test_more_parts(pictures):
    both, everything = (choose_images(pictures, part) for part in ("train+val", "all"))
    assert set(both.train.splits) == {"train", "val"}
    assert set(everything.train.splits) == {"train", "val", "test"}
    assert len(everything.train) == len(pictures)
    assert not len(both.shown)
    assert not len(everything.shown)
    with pytest.raises(ConfigError, match="train, train"):
        choose_images(pictures, "test")


def test_groups_and_copies_of_held_out_pictures_are_left_out(tmp_path, caplog):
    folder = make_split_pictures(tmp_path / "data")
    shutil.copy(folder / "test/cat/000.png", folder / "train/cat/copy.png")
    rows = [f"{path.relative_to(folder)},{path.parts[-2]},{path.parts[-3]}," for path in sorted(folder.rglob("*.png"))]
    rows = [row + "g" if row.startswith(("train/dog/000", "val/dog/001")) else row for row in rows]
    (folder / "labels.csv").write_text("path,label,split,group\n" + "\n".join(rows))
    chosen = choose_images(load_unlabelled(folder))
    assert len(chosen.train) == 17
    assert not {"train/cat/copy.png", "train/dog/000.png"} & set(chosen.train.keys)
    assert "2 images are not learned from" in caplog.text
    assert len(choose_images(load_unlabelled(folder), "train+val").train) == 18 + 9  # the group is on one side now


def test_data_without_a_split_are_taken_whole(tmp_path, caplog):
    caplog.set_level("INFO", "acclimate")
    make_pictures(tmp_path, ("a",), 5)
    chosen = choose_images(load_unlabelled(tmp_path / "a"))
    assert (len(chosen.train), len(chosen.shown), chosen.part) == (5, 0, "all")
    assert "a: 5 images are learned from, without classes" in caplog.text


def test_nothing_is_left(tmp_path):
    folder = make_split_pictures(tmp_path / "data", splits={"test": 2})
    with pytest.raises(DataError, match="use `split='all'`"):
        choose_images(load_unlabelled(folder))
