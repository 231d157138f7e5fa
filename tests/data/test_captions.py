from __future__ import annotations

import json
import shutil

import pytest

from acclimate.data import CaptionData, find_captions, load_captions
from acclimate.errors import DataError
from tests.helpers.pictures import make_captioned_pictures


@pytest.fixture
def folder(caption_folder, tmp_path):
    return shutil.copytree(caption_folder, tmp_path / "scenes")


def rewrite(folder, *rows, header="image,caption,split"):
    (folder / "captions.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def test_a_folder_with_captions(caption_folder):
    data = load_captions(caption_folder)
    assert data.name == "scenes"
    assert len(data) == 18
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [12, 0, 6]
    first = data.split("test")
    assert first.keys[0] == "images/test-000.png"
    assert first.captions[0] == ("a small cat number 0", "a large cat number 1", "a old cat number 2")
    assert data.image(0).size == (36, 32)
    assert load_captions(data) is data
    chosen = data.select([17, 0])
    assert isinstance(chosen, CaptionData)
    assert chosen.captions == [data.captions[17], data.captions[0]]
    assert (set(chosen.label_names), chosen.task) == ({"image"}, "retrieval")


def test_tables_of_all_kinds(caption_folder, folder):
    expected = load_captions(caption_folder)
    rows = [line.split(",") for line in (folder / "captions.csv").read_text().splitlines()]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    (folder / "captions.csv").unlink()
    lines = [json.dumps({"Path": row["image"], "Caption": row["caption"], "split": row["split"]}) for row in table]
    (folder / "captions.jsonl").write_text("\n".join(lines))
    assert load_captions(folder).by_key == expected.by_key
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(table), folder / "mine.parquet")
    found = load_captions(folder / "mine.parquet")
    assert (found.by_key, found.name) == (expected.by_key, "mine")


def test_a_split_is_made_where_there_is_none(folder):
    rows = [line.rsplit(",", 1)[0] for line in (folder / "captions.csv").read_text().splitlines()[1:]]
    data = load_captions(rewrite(folder, *rows, header="image,caption"))
    assert data.split_origin == "made"
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [9, 4, 5]
    assert load_captions(folder).splits == data.splits


def test_a_given_split_is_looked_at(folder, caplog):
    caplog.set_level("INFO", "acclimate")
    rows = [
        f"{line},g{number % 5}" for number, line in enumerate((folder / "captions.csv").read_text().splitlines()[1:])
    ]
    load_captions(rewrite(folder, *rows, header="image,caption,split,group"))
    assert "keeping the given split (train 12, val 0, test 6)" in caplog.text
    assert "groups are on several sides of the given split, which leaks: g" in caplog.text
    load_captions(rewrite(folder, *[row for row in rows if ",test," not in row], header="image,caption,split,group"))
    assert "a split is made" in caplog.text


def test_what_is_found(caption_folder, picture_folder, folder, tmp_path):
    assert find_captions(caption_folder) == caption_folder / "captions.csv"
    assert find_captions(caption_folder / "captions.csv") == caption_folder / "captions.csv"
    assert find_captions(picture_folder) is None
    assert find_captions(tmp_path / "none") is None
    assert find_captions(42) is None
    assert find_captions("") is None
    labelled = tmp_path / "labels.csv"
    labelled.write_text("path,label,caption\na.png,cat,a cat\n")
    assert find_captions(labelled) is None  # captions beside labels are not what the data are for
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"\xff\x00\xff")
    assert find_captions(broken) is None


def test_captions_that_stand_there_twice_count_once(folder):
    rewrite(
        folder, "images/train-000.png,a  cat ,train", "images/train-000.png,a cat,train", "images/test-000.png,b,test"
    )
    assert load_captions(folder).split("train").captions == [("a cat",)]


def test_the_fingerprint(folder, tmp_path):
    one, two = load_captions(folder), load_captions(make_captioned_pictures(tmp_path / "other"))
    assert one.fingerprint == two.fingerprint
    assert one.fingerprint != one.split("train").fingerprint
    changed = (folder / "captions.csv").read_text().replace("a small cat", "a tiny cat", 1)
    (folder / "captions.csv").write_text(changed)
    assert load_captions(folder).fingerprint != one.fingerprint


@pytest.mark.parametrize(
    ("rows", "header", "told"),
    [
        ([], "image,caption", "captions.csv: no rows"),
        (["images/train-000.png,a,train"], "image,text,split", "no column 'caption' among image, text, split"),
        (["a,train"], "caption,split", "no column 'image' among caption, split; write 'image,caption'"),
        (["images/train-000.png,,train"], "image,caption,split", "row 2: the caption is empty"),
        ([",a,train"], "image,caption,split", "row 2: the image is empty"),
        (["images/none.png,a,train", "b.png,b,test"], "image,caption,split", "row 2: no such image 'images/none.png'"),
        (["images/train-000.png,a,later"], "image,caption,split", "row 2: unknown split 'later'"),
        (
            ["images/train-000.png,a,train", "images/train-000.png,b,test"],
            "image,caption,split",
            "row 3: 'images/train-000.png' has split 'test', but 'train' in row 2",
        ),
    ],
)
def test_unusable_tables(folder, rows, header, told):
    rewrite(folder, *rows, header=header)
    with pytest.raises(DataError) as error:
        load_captions(folder)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_no_captions(picture_folder):
    with pytest.raises(DataError, match=r"no captions here; name a folder with captions\.csv"):
        load_captions(picture_folder)


def test_corrupt_images(folder):
    (folder / "images/train-003.png").write_bytes(b"nothing")
    data = load_captions(folder, on_corrupt="skip")
    assert isinstance(data, CaptionData)
    assert data.skipped == ("images/train-003.png",)
    assert len(data.captions) == 17
