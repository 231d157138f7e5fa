"""Published split lists read as data: the forms of CoOp and of SPG."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from acclimate.data import ImageData, load_data
from acclimate.errors import DataError
from acclimate.protocols import get_protocol

Splits = dict[str, list[list]]


def pictures(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        colour = hashlib.sha256(path.encode()).digest()[:3]  # no two alike
        Image.new("RGB", (8, 8), tuple(colour)).save(root / path)


def write(file: Path, content: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=4), encoding="utf-8")
    return file


def pets(root: Path) -> Path:
    """A list as CoOp has it, beside the folder of its images; numbers do not follow the alphabet."""
    splits: Splits = {"train": [], "val": [], "test": []}
    for number, name in enumerate(["samoyed", "Maine_Coon", "bengal", "pug", "birman"]):
        for split, count in (("train", 3), ("val", 1), ("test", 2)):
            for turn in range(count):
                path = f"{name}_{split}_{turn}.jpg"
                pictures(root / "images", path)
                splits[split].append([path, number, name])
    return write(root / "split_zhou_OxfordPets.json", splits)


def pacs(root: Path) -> Path:
    """Lists as SPG has them: paths from the folder above, one list a domain, test the same as val."""
    for index, (letter, domain) in enumerate((("a", "art_painting"), ("p", "photo"))):
        splits: Splits = {"train": [], "val": []}
        for label, name in enumerate(("dog", "guitar")):
            for split, count in (("train", 3), ("val", 1)):
                for turn in range(count):
                    path = f"PACS/images/{domain}/{name}/{split}{turn}.png"
                    pictures(root, path)
                    splits[split].append([path, label, index, name])
        write(root / f"PACS/spg_coop_splits/{letter}_train_val_split.json", {**splits, "test": splits["val"]})
    return root / "PACS/spg_coop_splits"


def facts(data: ImageData) -> list[tuple[str, str, str, str]]:
    return list(zip(data.keys, data.label_names, data.domains, data.splits, strict=True))


def test_list_of_coop(tmp_path: Path) -> None:
    file = pets(tmp_path / "oxford_pets")
    data = load_data(file, images_root=tmp_path / "oxford_pets/images")
    assert data.name == "split_zhou_OxfordPets"
    assert (len(data.train), len(data.val), len(data.test)) == (15, 5, 10)
    assert data.split_origin == "given"
    assert data.class_names == ("samoyed", "Maine_Coon", "bengal", "pug", "birman")
    assert ("bengal_val_0.jpg", "bengal", "", "val") in facts(data)
    assert data.image(0).size == (8, 8)


def test_classes_are_divided_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    file = pets(tmp_path / "oxford_pets")
    data = load_data(file, images_root=tmp_path / "oxford_pets/images", on_corrupt="skip")
    trial = get_protocol("base-to-novel")().draw("pets", {"pets": data}, 1, 1)
    assert trial.train.class_names == ("samoyed", "Maine_Coon", "bengal")
    assert trial.tests["novel"].class_names == ("pug", "birman")
    assert set(trial.tests["novel"].label_names) == {"pug", "birman"}
    assert trial.train.filter_classes(["bengal", "samoyed"]).class_names == ("samoyed", "bengal")


def test_lists_of_spg_are_domains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = pacs(tmp_path)
    with caplog.at_level(logging.INFO, "acclimate.data"):
        data = load_data(folder, images_root=tmp_path)
    assert "a_train_val_split.json: test lists the images of val again, so they are read as val" in caplog.text
    assert (data.name, data.domain_names, data.class_names) == ("spg_coop_splits", ("a", "p"), ("dog", "guitar"))
    assert (len(data.train), len(data.val), len(data.test)) == (12, 4, 0)
    assert ("PACS/images/photo/dog/val0.png", "dog", "p", "val") in facts(data)
    one = load_data(folder / "p_train_val_split.json", images_root=tmp_path)
    assert facts(one) == facts(data.filter_domains(["p"]))

    trial = get_protocol("leave-one-domain-out")().draw("p", {"pacs": data}, "all", 1)
    assert (len(trial.train), len(trial.val), len(trial.tests["p"])) == (6, 2, 8)


def test_domains_without_a_name_are_their_numbers(tmp_path: Path) -> None:
    pictures(tmp_path, "0.png", "1.png")
    file = write(tmp_path / "all.json", {"train": [["0.png", 0, 3, "cat"]], "test": [["1.png", 1, 4, "dog"]]})
    assert load_data(file).domain_names == ("3", "4")


GOOD = ["0.png", 0, "cat"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([GOOD], r"split.json: no split list, which is \{train: .*; write other tables as CSV"),
        ({"train": "0.png"}, "no split list"),
        ({"extra": [GOOD]}, "unknown or repeated split 'extra'; name the lists train, val and test"),
        ({"train": [GOOD], "training": [GOOD]}, "unknown or repeated split 'training'"),
        (
            {"train": [GOOD, ["1.png", "cat"]]},
            r"row 2: .*1\.png.* is no entry; write \[path, label number, ",
        ),
        ({"train": [["0.png", "0", "cat"]]}, "row 1: .* is no entry"),
        (
            {"train": [GOOD], "test": [["1.png", 1, "cat "]]},
            r"row 2: class 'cat' has number 1, but 0 in split.json row 1; give two classes two names",
        ),
        (
            {"train": [GOOD], "test": [["1.png", 0, "dog"]]},
            r"row 2: number 0 is class 'dog', but 'cat' in split.json row 1; give two classes two numbers",
        ),
        (
            {"train": [GOOD], "test": [["9.png", 1, "dog"]]},
            r"row 2: no such image '9\.png' \(looked in .*give `images_root`$",
        ),
        ({"val": [GOOD], "test": [GOOD]}, r"row 2: '0\.png' has split 'test', but 'val' in row 1"),
        ({"train": [["0.png", 0, " "]]}, "row 1: the label is empty"),
        ({"train": []}, "no rows"),
        ({"train": [GOOD]}, "only one class"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, content: object, message: str) -> None:
    pictures(tmp_path, "0.png", "1.png")
    with pytest.raises(DataError, match=message) as caught:
        load_data(write(tmp_path / "split.json", content))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value) or "no rows" in message


def test_not_json(tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    file.write_text('{"train": [', encoding="utf-8")
    with pytest.raises(DataError, match=r"split\.json: not valid JSON .*; download or write it again"):
        load_data(file)


def test_lists_of_domains_that_contradict_one_another(tmp_path: Path) -> None:
    pictures(tmp_path, "0.png", "1.png")
    write(tmp_path / "a_train_val_split.json", {"train": [["0.png", 0, 0, "cat"]]})
    other = write(tmp_path / "b_train_val_split.json", {"train": [["1.png", 1, 1, "cat"]]})
    with pytest.raises(DataError, match=r"b_train.* row 1: class 'cat' has number 1, but 0 in a_train.*json row 1"):
        load_data(tmp_path)
    write(other, {"train": [["1.png", 1, 1, "dog"]], "val": [["0.png", 0, 1, "cat"]]})
    with pytest.raises(DataError, match=r"b_train.*: '0\.png' stands in a_train_val_split\.json as well; keep"):
        load_data(tmp_path)


def test_what_is_odd_about_a_list_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lists = pacs(tmp_path)
    for file in lists.iterdir():
        file.write_text(file.read_text().replace('"guitar"', '"none"'))
    data = load_data(lists, images_root=tmp_path)
    for letter in "ap":
        assert f"in {letter}_train_val_split.json the label of 4 rows is the word 'none'" in caplog.text
    assert {remark.kind for remark in data.remarks} == {"missing_word"}
