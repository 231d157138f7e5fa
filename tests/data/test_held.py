"""Parquet files with images in them, shards of WebDataset, and tables in memory whose cells are images."""

from __future__ import annotations

import gzip
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from acclimate.data import check_data, each_image, load_data
from acclimate.data.finding import find_images
from acclimate.data.held import HeldImage, open_place
from acclimate.data.unlabelled import load_unlabelled
from acclimate.errors import DataError
from tests.helpers.pictures import CLASSES, make_pictures
from tests.helpers.shards import pictures, write_hub_parquet, write_shard, write_tar


def contents(data):
    """The bytes of every image, with its class."""
    return sorted(zip(map(data.image_bytes, range(len(data))), data.label_names, strict=True))


def expected(rows):
    return sorted((content, CLASSES[number]) for content, number in rows)


def test_parquet_of_the_hub(tmp_path):
    rows = pictures()
    file = write_hub_parquet(tmp_path / "pets.parquet", rows, group=[f"g{n // 2}" for n in range(12)])
    data = load_data(file)
    assert (data.name, data.class_names, len(data)) == ("pets", CLASSES, 12)
    assert data.keys[3] == "pets.parquet/000000003"
    assert data.places[3] == f"{file}/000000003"
    assert data.groups[:3] == ["g0", "g0", "g1"]
    assert contents(data) == expected(rows)
    assert data.image_bytes(7) == rows[7][0]  # out of order, from a group that was read


def test_parquet_that_datasets_has_written(tmp_path):
    rows = pictures()
    images = [Image.open(io.BytesIO(content)) for content, _ in rows]
    features = datasets.Features({"img": datasets.Image(), "y": datasets.ClassLabel(names=list(CLASSES))})
    made = datasets.Dataset.from_dict({"img": images, "y": [label for _, label in rows]}, features=features)
    made.to_parquet(tmp_path / "made.parquet")
    data, direct = load_data(tmp_path / "made.parquet"), load_data(made)
    assert contents(data) == contents(direct)
    assert data.class_names == direct.class_names == CLASSES


def test_row_groups_are_read_by_several_threads(tmp_path):
    rows = [(bytes([n]) * (2000 + n), n % 3) for n in range(160)]
    for name in "ab":
        write_hub_parquet(tmp_path / "large" / f"{name}.parquet", rows, row_group_size=70)
    data = load_data(tmp_path / "large")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(data.image_bytes, range(320))) == [content for content, _ in rows] * 2


@pytest.mark.parametrize("where", ["data/{}-00000-of-00001.parquet", "default/{}/0000.parquet", "pets-{}.tar"])
def test_splits_of_the_names_are_kept(where, tmp_path):
    write = write_shard if where.endswith("tar") else write_hub_parquet
    parts = {"train": pictures(3), "validation": pictures(1, 1), "test": pictures(2, 2)}
    for name, rows in parts.items():
        write(tmp_path / "pets" / where.format(name), rows)
    (tmp_path / "pets" / "README.md").write_text("about them")
    data = load_data(tmp_path / "pets")
    assert (data.name, data.split_origin) == ("pets", "given")
    assert [contents(part) for part in (data.train, data.val, data.test)] == list(map(expected, parts.values()))
    alone = load_data(tmp_path / "pets" / where.format("train"))
    assert alone.split_origin == "made"


@pytest.mark.parametrize("texts", ["cls", "json", "txt"])
def test_shards_of_webdataset(texts, tmp_path):
    parts = [pictures(2), pictures(2, 1), pictures(2, 2)]
    for number, rows in enumerate(parts):
        write_shard(tmp_path / f"pets-{number:03}.tar", rows, texts)
    every = [row for rows in parts for row in rows]
    for source in (tmp_path, tmp_path / "pets-{000..002}.tar", tmp_path / "pets-*.tar"):
        data = load_data(source)
        assert contents(data) == expected(every)
    assert data.keys[0] == "pets-000.tar/0000.png"
    assert len(load_data(tmp_path / "pets-{000,002}.tar")) == 12
    with pytest.raises(DataError, match=r"pets-003.tar: no such file, and .*pets-\{000..003\}.tar stands for it"):
        load_data(tmp_path / "pets-{000..003}.tar")


def test_what_json_says(tmp_path):
    write_shard(tmp_path / "a.tar", pictures(2), "json", domain="night", group=7, split="valid", caption=["x"])
    write_shard(tmp_path / "b.tar", pictures(2, 1), "json", domain="day")
    data = load_data(tmp_path)
    assert (data.domain_names, data.groups[0], data.splits[0]) == (("day", "night"), "7", "val")
    assert (len(data.val), len(data.train)) == (6, 6)


def test_a_folder_of_images_is_not_taken_for_shards(tmp_path):
    folder = make_pictures(tmp_path / "pets", per_class=4)
    write_tar(folder / "backup.tar", {"old.txt": b"x"})
    assert len(load_data(folder)) == 12
    assert len(list(find_images([folder]))) == 12


def test_images_of_shards_are_found_by_their_places(tmp_path):
    rows = pictures(1)
    places = []
    for file in (write_shard(tmp_path / "a.tar", rows), write_hub_parquet(tmp_path / "b.parquet", rows)):
        found = list(find_images([file]))
        assert [image.read() for image in found] == [content for content, _ in rows]
        places += map(str, found)
        data = load_data(file)
        assert {str(image) for image in each_image(data)} == set(map(str, found))
    assert places[:1] + places[-1:] == [f"{tmp_path}/a.tar/0000.png", f"{tmp_path}/b.parquet/000000002"]
    for place in places:
        (again,) = find_images([place])
        assert isinstance(again, HeldImage)
        assert open_place(place).tobytes() == again.open().tobytes()
    assert [str(one) for one in find_images([tmp_path / "a.tar/none.png"])] == [f"{tmp_path}/a.tar/none.png"]


def test_data_of_shards_can_be_pickled_and_checked(tmp_path):
    for file in (write_shard(tmp_path / "a.tar", pictures(4)), write_hub_parquet(tmp_path / "b.parquet", pictures(4))):
        data = load_data(file)
        data.image_bytes(0)
        assert contents(pickle.loads(pickle.dumps(data))) == contents(data)
        assert check_data(file).pictures == 12


def test_shards_without_labels(tmp_path):
    rows = pictures(2)
    table = pa.table({"image": [{"bytes": content, "path": None} for content, _ in rows]})
    (tmp_path / "b").mkdir()
    pq.write_table(table, tmp_path / "b" / "plain.parquet")
    write_tar(tmp_path / "a" / "plain.tar", {f"{n}.png": content for n, (content, _) in enumerate(rows)})
    for source in (tmp_path / "a", tmp_path / "b" / "plain.parquet"):
        data = load_unlabelled(source)
        assert sorted(map(data.image_bytes, range(6))) == sorted(content for content, _ in rows)
        assert set(data.column("label")) == {""}
    labelled = load_unlabelled(write_shard(tmp_path / "c.tar", pictures(8)))
    assert len(labelled.test) > 0  # so that they can be left out


FRAMES = {"pandas": pd.DataFrame, "arrow": pa.table}


@pytest.mark.parametrize("kind", FRAMES)
def test_tables_in_memory_with_images(kind, tmp_path):
    rows = pictures(3)
    cells = {"dicts": [{"bytes": content, "path": None} for content, _ in rows], "bytes": [one for one, _ in rows]}
    labels = [CLASSES[number] for _, number in rows]
    for column in cells.values():
        frame = FRAMES[kind]({"image": column, "label": labels, "split": ["train", "train", "test"] * 3})
        data = load_data(frame)
        assert contents(data) == expected(rows)
        assert len(data.test) == 3
        assert list(each_image(frame)) == [content for content, _ in rows]
    with pytest.raises(DataError, match="no column 'label' among image; add one"):
        load_data(FRAMES[kind]({"image": cells["bytes"]}))
    with pytest.raises(DataError, match="row 1: the label is empty"):
        load_data(FRAMES[kind]({"image": cells["bytes"], "label": ["cat", None, *labels[2:]]}))
    shuffled = pd.DataFrame({"image": cells["bytes"], "label": labels}).sample(frac=1, random_state=3)
    assert contents(load_data(shuffled)) == expected(rows)


def broken_parquets(folder):
    rows = pictures(1)
    images = [{"bytes": content, "path": None} for content, _ in rows]
    yield write_hub_parquet(folder / "1.parquet", [*rows, (rows[0][0], -1)]), "1.parquet row 4: no label in column 'l"
    for name, columns, words in [
        ("2", {"text": ["x"] * 3}, "2.parquet: no label column among text; rename the one"),
        ("3", {"class": ["x"] * 3, "category": ["y"] * 3}, "3.parquet: class, category may each be the column of lab"),
        ("4", {"label": ["x", "y", None]}, "4.parquet row 3: no label in column 'label'; label it or remove the row"),
        ("5", {"label": ["x", "y", "z"], "split": ["", "", "late"]}, "5.parquet row 2: unknown split 'late'"),
        ("6", {"label": [["x"], ["y"], ["z"]]}, "6.parquet row 1: column 'label' holds a list"),
    ]:
        pq.write_table(pa.table({"image": images, **columns}), folder / f"{name}.parquet")
        yield folder / f"{name}.parquet", words


def broken_tars(folder):
    image = pictures(1)[0][0]
    whole = write_shard(folder / "whole.tar", pictures(2)).read_bytes()
    for name, content, words in [
        ("cut", whole[: len(whole) // 2 + 100], "not a readable tar archive, or a compressed one"),
        ("gzip", gzip.compress(whole), "not a readable tar archive, or a compressed one .*; unpack it"),
        ("damaged", whole[:5120] + b"x" * 512 + whole[5632:], "byte [0-9,]+ begins no file"),
        ("empty", b"", "not a readable tar archive"),
    ]:
        (folder / f"{name}.tar").write_bytes(content)
        yield folder / f"{name}.tar", words
    for name, files, words in [
        ("bare", {"a.png": image}, r"bare.tar: 'a' has no label; WebDataset has it as a.cls, or in a.json or a.txt"),
        ("twice", {"a.png": image, "a.jpg": image}, r"twice.tar: a.png, a.jpg are images of one name"),
        ("none", {"a.cls": b"cat"}, "no image in this archive; WebDataset has KEY.jpg and KEY.cls"),
        ("list", {"a.png": image, "a.json": b"[1]"}, r"'a': its .json is no object"),
        ("json", {"a.png": image, "a.json": b"{"}, r"json.tar: 'a', its .json"),
        ("two", {"a.png": image, "a.json": b'{"class": 1, "category": 2}'}, "class, category may each be the column"),
        ("bytes", {"a.png": image, "a.cls": b"\xff\xfe\x00"}, r"'a', its .cls, holds bytes that are no text"),
    ]:
        yield write_tar(folder / f"{name}.tar", files), words


@pytest.mark.parametrize("kind", [broken_parquets, broken_tars])
def test_shards_that_are_no_data(kind, tmp_path):
    for file, words in kind(tmp_path):
        with pytest.raises(DataError, match=words) as caught:
            load_data(file)
        assert "\n" not in str(caught.value)


def test_names_that_do_not_fit_together(tmp_path):
    write_shard(tmp_path / "a" / "train-0.tar", pictures(1))
    write_shard(tmp_path / "a" / "extra.tar", pictures(1))
    with pytest.raises(DataError, match=r"extra.tar: this name means no split, and those beside it do \(train\)"):
        load_data(tmp_path / "a")
    write_shard(tmp_path / "b" / "x.tar", pictures(1))
    write_hub_parquet(tmp_path / "b" / "x.parquet", pictures(1))
    with pytest.raises(DataError, match=r"both .tar and .parquet files hold images; name those of one kind"):
        load_data(tmp_path / "b")


def test_a_row_without_an_image_is_skipped_or_named(tmp_path):
    rows = pictures(2)
    file = write_hub_parquet(tmp_path / "a.parquet", [*rows[:3], (None, 0), (b"no image", 1), *rows[4:]])
    (tmp_path / "3.png").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"3.png.*no such file"):
        load_data(file).image_bytes(3)
    assert load_data(file, on_corrupt="skip").skipped == ("a.parquet/000000003", "a.parquet/000000004")


def test_a_file_that_changed_is_named(tmp_path):
    tar, parquet = write_shard(tmp_path / "a.tar", pictures(1)), write_hub_parquet(tmp_path / "b.parquet", pictures(1))
    for file, words in [(tar, "no such file"), (parquet, "b.parquet is gone or damaged")]:
        data = load_data(file)
        file.unlink()
        with pytest.raises(DataError, match=f"cannot read image '.* row .*': .*({words})"):
            data.image_bytes(0)
    damaged = write_hub_parquet(tmp_path / "c.parquet", pictures(1))
    data, content = load_data(damaged), damaged.read_bytes()
    damaged.write_bytes(content[:4] + bytes(60) + content[64:])
    with pytest.raises(DataError, match=r"cannot read image .*: c.parquet is gone or damaged \("):
        data.image_bytes(0)
