from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from acclimate.data import ImageData, load_data
from acclimate.errors import ConfigError, DataError
from tests.helpers.real_data import real_set


def picture(path: Path, value: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value % 256, 50, 60)).save(path)
    return path


def tree(root: Path, *folders: str, count: int = 3) -> Path:
    for place, folder in enumerate(folders):
        for number in range(count):
            picture(root / folder / f"{number}.png", 10 * place + number)
    return root


def manifest(root: Path, text: str, name: str = "labels.csv") -> Path:
    for number in range(6):
        picture(root / f"{number}.png", number)
    (root / name).write_text(text, encoding="utf-8")
    return root


GOOD = """path,label,domain,group,split
0.png,cat,day,p1,train
1.png,dog,day,p2,train
2.png,cat,night,p3,test
3.png,dog,night,,val
"""


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize(
    ("folders", "layout", "domains", "origin"),
    [
        (["cat", "dog"], "class", (), "made"),
        (["train/cat", "train/dog", "Valid/cat", "TEST/dog"], "split/class", (), "given"),
        (["train/cat", "train/dog"], "split/class", (), "made"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], "class/split", (), "given"),
        (["photo/cat", "photo/dog", "sketch/cat", "sketch/dog"], "domain/class", ("photo", "sketch"), "made"),
        (["train/ct/cat", "train/ct/dog", "test/mr/cat", "test/mr/dog"], "split/domain/class", ("ct", "mr"), "given"),
        (["ct/train/cat", "ct/test/dog", "mr/train/cat", "mr/val/dog"], "domain/split/class", ("ct", "mr"), "given"),
        (["cat/patient1", "cat/patient2", "dog/patient3", "dog/patient4"], "class", (), "made"),
        (["cat/more", "cat", "dog/more", "dog"], "class", (), "made"),
        (["a/cat", "a/dog", "a/cow", "b/cat", "b/dog"], "domain/class", ("a", "b"), "made"),
        (["a/cat", "a/dog", "b/cat", "b/dog", "c/dog"], "domain/class", ("a", "b", "c"), "made"),
    ],
)
def test_layouts_are_told_apart_by_names(
    tmp_path: Path, folders: list[str], layout: str, domains: tuple, origin: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(tree(tmp_path / "set", *folders))
    assert f"read as {layout}/image; choose another with `layout` if this is wrong" in caplog.text
    assert data.name == "set"
    assert set(data.class_names) == {"cat", "dog"} | ({"cow"} if "a/cow" in folders else set())
    assert (data.domain_names, data.split_origin) == (domains, origin)
    assert len(data) == 3 * len(folders)
    assert data.keys == sorted(data.keys)
    same = load_data(tmp_path / "set", layout=layout)
    assert (same.keys, same.splits, same.label_names) == (data.keys, data.splits, data.label_names)


def test_layout_can_be_overridden(tmp_path: Path) -> None:
    root = tree(tmp_path, "train/bus", "train/tram", "test/bus", "test/tram")
    assert load_data(root, layout="class").class_names == ("test", "train")
    assert load_data(root, layout="domain/class").domain_names == ("test", "train")
    with pytest.raises(ConfigError, match="`layout='classes'` is unknown; say one of auto, manifest, class"):
        load_data(root, layout="classes")
    with pytest.raises(DataError, match=r"'bus' is no split .* but `layout='class/split'`; rename it"):
        load_data(root, layout="class/split")
    with pytest.raises(DataError, match=r"no image lies below folders split/domain/class .* say another `layout`, one"):
        load_data(root, layout="split/domain/class")
    with pytest.raises(DataError, match=r"no labels\.csv"):
        load_data(root, layout="manifest")


def test_messy_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path / "set", "cat", "dog")
    picture(root / "cat" / "deep" / "B.PNG").rename(root / "cat" / "deep" / "B.JPG")
    for name in (".hidden.png", "cat/.DS_Store", "cat/Thumbs.db", ".git/a.png", "cat/desktop.ini"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    for name in ("cat/notes.txt", "cat/scan.mha", "README"):
        (root / name).write_text("x")
    picture(root / "loose.png")
    (root / "empty").mkdir()
    (root / "dog" / "round").symlink_to(root / "dog", target_is_directory=True)
    (root / "dog" / "link.png").symlink_to(root / "cat" / "0.png")
    (root / "dog" / "broken.png").symlink_to(root / "none.png")
    (root / "dog" / "itself.png").symlink_to(root / "dog" / "itself.png")
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(root)
    assert data.counts() == {"cat": 4, "dog": 4}
    assert set(data.other_files) == {"cat/notes.txt", "cat/scan.mha", "README", "dog/broken.png", "dog/itself.png"}
    assert "2 files are not images and are left out (1 no ending, 1 .txt)" in caplog.text
    warned = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert "3 files are not read: 2 links to nowhere (bring back what is pointed to), 1 volume" in warned
    assert "no class 'empty' is read, for there is no image in the folder; it is empty" in warned
    assert "1 image lies above" in caplog.text


def test_the_same_names_on_every_file_system(tmp_path: Path) -> None:
    tree(tmp_path, "cafe\u0301", "dog")
    assert load_data(tmp_path).class_names == ("caf\u00e9", "dog")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "none", "no such file or folder"),
        (lambda root: root, r"no images in this folder \(it is empty\)"),
        (lambda root: [root, (root / "a.txt").write_text("")][0], r"only other files: 1 \.txt"),
        (lambda root: picture(root / "a.png").parent, "directly in this folder"),
        (lambda root: picture(root / "a.png"), "no manifest by its name"),
        (lambda root: tree(root, "train", "test"), "test, train hold images without .* or say `layout='class'`"),
        (lambda root: tree(root, "cat"), r"only one class \('cat'\)"),
        (
            lambda root: tree(root, "train/a", "train/b", "test/a", "more/b"),
            "test, train are splits, but beside .* more.* with `layout='class'` or `layout='domain/class'`",
        ),
        (lambda root: "", "the name of the data is empty"),
        (lambda root: 3, "cannot load data from an int"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(make(tmp_path))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    tree(tmp_path, "cat", "dog")
    (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
    with pytest.raises(DataError, match="not UTF-8; rename"):
        load_data(tmp_path)


# ---------------------------------------------------------------- manifests


def as_jsonl(text: str) -> str:
    header, *rows = [line.split(",") for line in text.splitlines()]
    return "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows)


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "jsonl", "parquet", "utf-16", "bom", "crlf", "case"])
def test_manifests_of_every_kind_say_the_same(tmp_path: Path, kind: str) -> None:
    manifest(tmp_path, GOOD)
    plain = load_data(tmp_path)
    (tmp_path / "labels.csv").unlink()
    content = {
        "tsv": GOOD.replace(",", "\t"),
        "semicolon": GOOD.replace(",", ";"),
        "jsonl": as_jsonl(GOOD),
        "crlf": GOOD.replace("\n", "\r\n"),
        "case": GOOD.replace("path,label", " Path,Label "),
    }.get(kind, GOOD)
    file = tmp_path / f"labels.{kind if kind in ('tsv', 'jsonl', 'parquet') else 'csv'}"
    if kind == "parquet":
        header, *rows = [line.split(",") for line in GOOD.splitlines()]
        table = pyarrow.table(
            {name: list(column) for name, column in zip(header, zip(*rows, strict=True), strict=True)}
        )
        pyarrow.parquet.write_table(table, file)
    else:
        file.write_bytes(content.encode({"utf-16": "utf-16", "bom": "utf-8-sig"}.get(kind, "utf-8")))
    data = load_data(tmp_path)
    assert data.split_origin == "given"
    assert data.table.equals(plain.table)
    assert load_data(file).keys == ["0.png", "1.png", "2.png", "3.png"]
    assert data.name == load_data(file).name == tmp_path.name


def test_paths_may_be_absolute_elsewhere_or_from_windows(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "sub" / "a.png")
    picture(tmp_path / "far" / "b.png")
    file = tmp_path / "table.csv"
    file.write_text(
        f"path,label\nsub\\a.png,cat\n{tmp_path / 'far' / 'b.png'},dog\n{tmp_path}/images/./sub/../sub/a.png,cat\n"
    )
    data = load_data(file, images_root=tmp_path / "images")
    assert data.name == "table"
    assert data.keys == sorted(["sub/a.png", (tmp_path / "far" / "b.png").as_posix()])
    with pytest.raises(DataError, match=r"`images_root='.*none'` is no folder"):
        load_data(file, images_root=tmp_path / "none")
    with pytest.raises(DataError, match="`images_root` belongs to a manifest"):
        load_data(tree(tmp_path / "set", "cat", "dog"), images_root=tmp_path)


def test_numbers_are_labels_too(tmp_path: Path) -> None:
    manifest(tmp_path, "").joinpath("labels.csv").unlink()
    table = pyarrow.table({"path": ["0.png", "1.png", "2.png"], "label": [1.0, 2.0, 1.0], "group": [7, None, 8]})
    pyarrow.parquet.write_table(table, tmp_path / "labels.parquet")
    data = load_data(tmp_path)
    assert data.class_names == ("1", "2")
    assert data.groups == ["7", "", "8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'path' among no columns"),
        ("path,label\n", "no rows"),
        ("filename,label\n0.png,cat\n", "no column 'path' among filename, label; rename column 'filename' to 'path'"),
        ("path,lable\n0.png,cat\n", "rename column 'lable' to 'label'"),
        ("path,x\n0.png,cat\n", "no column 'label' among path, x; add a column 'label'"),
        ("path,label\n0.png,cat\n1.png,\n", "labels.csv row 3: the label is empty"),
        ("path,label\n\n0.png,cat\n,dog\n", "labels.csv row 4: the path is empty"),
        (
            "path,label\n0.png,cat\na/b.jpg,dog\nc.jpg,dog\n",
            r"labels.csv row 3: no such image 'a/b.jpg' \(looked in .*\); 1 more row has",
        ),
        ("path,label\n0.png,cat\n.,dog\n", "row 3: '.' is a folder, not an image"),
        ("path,label,split\n0.png,cat,train\n1.png,dog,tset\n", "row 3: unknown split 'tset'; say train, val or test"),
        ("path,label\n0.png,cat\n1.png,dog\n./0.png,dog\n", "row 4: '0.png' has label 'dog', but 'cat' in row 2"),
        ("path,label,split\n0.png,a,train\n1.png,b,\n0.png,a,test\n", "row 4: '0.png' has split 'test', but 'train'"),
        ("path,label\n0.png,cat,tabby\n", "row 2: 3 values for 2 columns"),
        ("path,label\n0.png,cat\n1.png,cat\n", "only one class"),
        ("path,label\n0.png,\x00\n", "not a text file"),
        (f"path,label\n{'a' * 5000},b\n", "row 2: no such image"),
    ],
)
def test_bad_manifests_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(manifest(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value) or "," in str(caught.value)


def test_bad_encodings_and_broken_files(tmp_path: Path) -> None:
    manifest(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes("path,label\n0.png,cat\n1.png,café\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 3: byte 0xe9 is not UTF-8"):
        load_data(tmp_path)
    for name, content, message in (
        ("a.parquet", b"PAR1 and nothing else", "not a readable Parquet file"),
        ("a.jsonl", b'{"path": "0.png", "label": "a"}\n{"path"\n', "row 2: not valid JSON"),
        ("b.jsonl", b"[1, 2]\n", "row 1: .* no JSON object"),
        ("c.csv", b'path,label\n"0.png,cat\n' + b"x" * 200_000, "row 2: .* a quote that does not end"),
        ("d.csv", b'"' + b"x" * 200_000, "row 1: .* a quote that does not end"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_data(tmp_path / name)


def test_repeated_rows_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load_data(manifest(tmp_path, "path,label\n0.png,cat\n1.png,dog\n0.png,cat\n"))
    assert len(data) == 2
    assert "1 row repeats an image" in caplog.text


def test_the_row_order_does_not_matter(tmp_path: Path) -> None:
    header, *rows = (
        GOOD.replace(",split", "").replace(",train", "").replace(",test", "").replace(",val", "").splitlines()
    )
    one = load_data(manifest(tmp_path / "a", "\n".join([header, *rows])))
    two = load_data(manifest(tmp_path / "b", "\n".join([header, *rows[::-1]])))
    assert (one.keys, one.splits) == (two.keys, two.splits)


def test_of_several_manifests_csv_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest(tmp_path, GOOD)
    (tmp_path / "labels.jsonl").write_text("nonsense")
    with caplog.at_level(logging.INFO, "acclimate.data"):
        assert len(load_data(tmp_path)) == 4
    assert "leaving labels.jsonl aside" in caplog.text


# ---------------------------------------------------------------- given splits


def test_given_splits_are_kept_and_gaps_are_train(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "path,label,group,split\n0.png,a,g,train\n1.png,b,g,Testing\n2.png,a,,\n3.png,b,,\n"
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(manifest(tmp_path, rows))
    assert data.splits == ["train", "test", "train", "train"]
    assert (len(data.train), len(data.val), len(data.test)) == (3, 0, 1)
    assert "2 images without a split belong to train" in caplog.text
    assert "keeping the given split (train 3, val 0, test 1)" in caplog.text
    assert "1 group is on several sides" in caplog.text


@pytest.mark.parametrize(("given", "word"), [("val", "no test images"), ("test", "no training images")])
def test_splits_that_lack_a_side(tmp_path: Path, given: str, word: str, caplog: pytest.LogCaptureFixture) -> None:
    first = "test" if given == "test" else "train"
    load_data(manifest(tmp_path, f"path,label,split\n0.png,a,{first}\n1.png,b,{given}\n"))
    assert word in caplog.text


# ---------------------------------------------------------------- data sets in memory


def encoded(*labels: object, feature: object = None, image: str = "image", label: str = "label") -> datasets.Dataset:
    shades = [Image.new("L", (4, 4), 10 * number) for number in range(len(labels))]
    features = datasets.Features({image: datasets.Image(), label: feature or datasets.Value("string")})
    return datasets.Dataset.from_dict({image: shades, label: list(labels)}, features=features)


def test_a_dataset_with_class_labels() -> None:
    source = encoded(
        1, 0, 1, 0, feature=datasets.ClassLabel(names=["dog", "cat", "never"]), image="img", label="fine_label"
    )
    data = load_data(source)
    assert data.class_names == ("cat", "dog")
    assert data.label_names == ["cat", "dog", "cat", "dog"]
    assert [int(np.asarray(data.image(row))[0, 0, 0]) for row in range(4)] == [0, 10, 20, 30]
    assert data.image_bytes(2).startswith(b"\x89PNG")
    assert len({data.digest(row) for row in range(4)}) == 4
    assert data.select([3]).image(0).getpixel((0, 0)) == (30, 30, 30)
    assert data.test.paths == [None] * len(data.test)
    shuffled = load_data(source.shuffle(seed=3).select(range(3)))
    assert len(shuffled) == 3
    assert load_data(data) is data


def test_a_dataset_dict_keeps_its_splits(tmp_path: Path) -> None:
    parts = {"train": encoded("a", "b"), "validation": encoded("a"), "test": encoded("b", "b").select([1])}
    data = load_data(datasets.DatasetDict(parts))
    assert data.splits.count("train") == 2
    assert data.split_origin == "given"
    assert data.test.image(0).getpixel((0, 0)) == (10, 10, 10)
    assert data.val.label_names == ["a"]
    assert load_data(datasets.DatasetDict(train=encoded("a", "b", "a", "b"))).split_origin == "made"


def test_a_dataset_of_image_files_and_extra_columns(tmp_path: Path) -> None:
    files = [str(picture(tmp_path / f"{number}.png", number)) for number in range(3)]
    source = datasets.Dataset.from_dict(
        {"image": files, "label": [1, 2, 1], "group": ["g", "g", None], "split": ["train", "test", ""]}
    )
    data = load_data(source.cast_column("image", datasets.Image()))
    assert data.groups == ["g", "g", ""]
    assert data.splits == ["train", "test", "train"]
    assert data.image(1).getpixel((0, 0))[0] == 1
    os.unlink(files[1])
    with pytest.raises(DataError, match="no such file"):
        data.image(1)
    table = datasets.Dataset.from_dict({"path": ["0.png", "2.png"], "label": ["a", "b"]})
    assert load_data(table, images_root=tmp_path).keys == ["0.png", "2.png"]
    assert (
        load_data(datasets.DatasetDict(train=table, test=table.select([])), images_root=tmp_path).split_origin == "made"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encoded("a", "b", label="name"), "no label column among image, name"),
        (lambda: datasets.Dataset.from_dict({"x": [1], "label": ["a"]}), "no image column among x, label"),
        (lambda: encoded("a", None, "b"), "row 1: no label in column 'label'"),
        (lambda: encoded(0, -1, feature=datasets.ClassLabel(names=["a", "b"])), "row 1: no label"),
        (
            lambda: encoded([1], [2], feature=datasets.List(datasets.Value("int64"))),
            "does not hold one label per image",
        ),
        (lambda: datasets.DatasetDict(train=encoded("a"), extra=encoded("b")), "unknown split 'extra'"),
        (lambda: datasets.DatasetDict(train=encoded("a"), test=encoded("b", image="img")), "split 'test' has columns"),
        (datasets.DatasetDict, "DatasetDict is empty"),
        (lambda: encoded("a", "b").add_column("split", ["train", "tset"]), "row 1: unknown split 'tset'"),
        (lambda: encoded("a", "b").to_iterable_dataset(), "streaming=False"),
    ],
)
def test_datasets_that_cannot_be_used(make: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(make())


def test_of_several_image_columns_the_usual_name_is_read() -> None:
    shades = [Image.new("L", (4, 4), 10 * number) for number in range(2)]
    kinds = {"mask": datasets.Image(), "image": datasets.Image(), "label": datasets.Value("string")}
    columns = {"mask": shades[::-1], "image": shades, "label": ["a", "b"]}
    assert load_data(datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))).image(1).getpixel(
        (0, 0)
    ) == (10, 10, 10)


def test_a_row_without_an_image() -> None:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    data = load_data(datasets.Dataset.from_dict({"image": [None, None], "label": ["a", "b"]}, features=features))
    with pytest.raises(DataError, match="row holds no image"):
        data.image(0)


# ---------------------------------------------------------------- corrupt images


def test_corrupt_images_are_named_or_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path, "cat", "dog", count=4)
    whole = (root / "cat" / "1.png").read_bytes()
    (root / "cat" / "1.png").write_bytes(whole[:50])
    data = load_data(root)
    with pytest.raises(
        DataError, match=r"cat/1\.png.*truncated.*acclimate data check DATA`.* with `on_corrupt='skip'`$"
    ):
        data.image(data.keys.index("cat/1.png"))
    assert data.image_bytes(data.keys.index("cat/1.png")) == whole[:50]
    data = load_data(root, on_corrupt="skip")
    assert data.skipped == ("cat/1.png",)
    assert data.counts() == {"cat": 3, "dog": 4}
    assert "1 corrupt image is left out: cat/1.png" in caplog.text
    assert load_data(tree(tmp_path / "fine", "a", "b"), on_corrupt="skip").skipped == ()
    with pytest.raises(ConfigError, match=r"^`on_corrupt='maybe'` is neither 'error' nor 'skip'$"):
        load_data(root, on_corrupt="maybe")


def test_when_nothing_or_one_class_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tree(tmp_path, "cat", "dog", "emu")
    for number in range(3):
        (root / "cat" / f"{number}.png").write_text("x")
    assert load_data(root, on_corrupt="skip").class_names == ("dog", "emu")
    assert "no image is left of the classes cat" in caplog.text
    for file in root.rglob("*.png"):
        file.write_text("x")
    with pytest.raises(DataError, match="none of the 9 images"):
        load_data(root, on_corrupt="skip")


def test_a_file_that_vanished(tmp_path: Path) -> None:
    data = load_data(tree(tmp_path, "cat", "dog"))
    (tmp_path / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match="no such file"):
        data.image_bytes(0)


# ---------------------------------------------------------------- the view


def test_the_view(tmp_path: Path) -> None:
    data = load_data(tree(tmp_path / "set", "day/cat", "day/dog", "night/cat", "night/dog"))
    assert isinstance(data, ImageData)
    assert repr(data) == "ImageData('set', 12 images, 2 classes, split made)"
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [0] * 3 + [1] * 3 + [0] * 3 + [1] * 3
    night = data.filter_domains(["night"])
    assert len(night) == 6
    assert night.class_names == data.class_names
    assert set(night.test.keys) == {key for key in data.test.keys if key.startswith("night")}
    assert data.filter_domains("day").select([0]).counts() == {"cat": 1, "dog": 0}
    with pytest.raises(DataError, match="no domain 'noon'; it has day, night"):
        data.filter_domains(["noon"])
    assert night.select(-1 for _ in range(2)).keys == ["night/dog/2.png"] * 2
    assert len(night.select(np.array(night.labels == 1))) == len(night.select([])) + 3
    with pytest.raises(IndexError):
        night.select([6])
    assert data.image(0).size == (8, 8)
    assert len(data.digest(0)) == 64


@pytest.mark.slow
def test_many_rows_load_in_seconds_and_nothing_is_written(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    for number in range(20_000):
        os.link(tmp_path / "a.png", tmp_path / f"{number}.png")
    (tmp_path / "labels.csv").write_text(
        "path,label,group\n" + "".join(f"{n}.png,class{n % 9},{n // 3}\n" for n in range(20_000))
    )
    before = len(os.listdir(tmp_path))
    start = time.process_time()
    assert len(load_data(tmp_path)) == 20_000
    assert time.process_time() - start < 4
    assert len(os.listdir(tmp_path)) == before


def test_loading_is_quiet_and_free_of_torch(tmp_path: Path) -> None:
    tree(tmp_path, "cat", "dog")
    program = (
        "import sys; from acclimate.data import load_data, sample_shots; import acclimate.data; "
        f"d = load_data({str(tmp_path)!r}); sample_shots(d.train, 1, 0).image(0); "
        "assert 'load_data' in dir(acclimate.data); print('torch' in sys.modules)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_unknown_names_of_the_room() -> None:
    import acclimate.data

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        acclimate.data.nothing  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pictures", "classes", "domains"),
    [
        ("aid", 3600, 30, 0),
        ("sar_acd", 2976, 6, 0),
        ("lithology", 819, 3, 0),
        ("chest_xray", 1200, 2, 0),
        ("pacs", 3320, 7, 4),
    ],
)
def test_real_data(name: str, pictures: int, classes: int, domains: int) -> None:
    folder = real_set(name)
    data = load_data(folder)
    assert (len(data), len(data.class_names), len(data.domain_names)) == (pictures, classes, domains)
    assert len(data.test) == pytest.approx(0.3 * pictures, abs=2 * classes)
    sides: dict[str, set[str]] = {}
    for group, split in zip(data.groups, data.splits, strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for group, found in sides.items() if group)
    folders = load_data(folder / "images")
    assert (folders.class_names, folders.domain_names) == (data.class_names, data.domain_names)
    assert data.image(0).mode == "RGB"
