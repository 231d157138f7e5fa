"""Tables of every kind are read by one rule; what cannot be read is one line that names column, row and kind."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from acclimate.data import load_captions, load_data
from acclimate.data.tables import read_csv, whole
from acclimate.errors import DataError

WANTED = ("path", "label", "domain", "group", "split")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    return tmp_path


def table(text: str) -> list[dict]:
    columns, records = read_csv(text, "t.csv", WANTED)
    assert columns == ["path", "label"]
    return [row for _, row in records]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\n0.png,a|b;c\n",
        "path;label\n0.png;a|b;\n",
        "path|label\n0.png|a,b\n",
        "path\tlabel\n0.png\ta,b\n",
        "sep=;\r\npath;label\r\n0.png;a,b\r\n",
        'sep=|\n"path"|"label"\n"0.png"|"a|b"\n',
        "path,label,,\n0.png,a,,\n",
        'path, label\n0.png, "a"\n',
    ],
)
def test_marks_between_cells(text: str) -> None:
    (row,) = table(text)
    assert row["path"] == "0.png"
    assert row["label"].startswith("a")
    assert ";" not in row["label"] or "|" in row["label"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label|domain\n", "row 1: the columns are separated by commas or vertical bars; use one of them"),
        ("path label\n0.png a\n", "row 1: the columns are separated by blanks; separate them by commas or tabs"),
        ("sep=::\npath::label\n", "sep=:: names no single character"),
        ("path,label,Label\n0.png,a,b\n", "the column 'label' stands there twice"),
        ('path,label\n0.png,"a\n1.png,b\n', "row 2: a quote that does not end"),
        ('path,label\n0.png,"a "nice" one"\n', "row 2: .* a quote within a quoted value"),
        ("path,label\n0.png,a,b\n", "row 2: 3 values for 2 columns"),
    ],
)
def test_tables_that_say_more_than_one_thing(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(read_csv(text, "t.csv", WANTED)[1])


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["0.0", "1.0", ""], ["0", "1", ""]),
        (["0.0", "1.5", "2"], ["0", "1.5", "2"]),
        (["1.0", "1.10"], ["1.0", "1.10"]),
        (["1.0", "001"], ["1.0", "001"]),
        (["1.0", "cat"], ["1.0", "cat"]),
        (["-1.0", "12345678901234567890"], ["-1.0", "12345678901234567890"]),
    ],
)
def test_numbers_in_text_tables(given: list[str], read: list[str]) -> None:
    assert whole(given) == read


def test_float_labels_are_the_same_classes_from_every_kind_of_table(folder: Path) -> None:
    paths, labels = [f"{number}.png" for number in range(4)], [0.0, 1.0, 2.5, 0.0]
    rows = [{"path": path, "label": label} for path, label in zip(paths, labels, strict=True)]
    (folder / "a.csv").write_text("path,label\n" + "".join(f"{row['path']},{row['label']}\n" for row in rows))
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pyarrow.parquet.write_table(pyarrow.table({"path": paths, "label": labels}), folder / "c.parquet")
    read = [load_data(folder / name).label_names for name in ("a.csv", "b.jsonl", "c.parquet")]
    stored = datasets.Dataset.from_list(rows)
    read += [load_data(stored, images_root=folder).label_names]
    assert read == [["0", "1", "2.5", "0"]] * 4


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("label", ["a", "b"] * 5000, "row 1: column 'label' holds a list; write one text or number in each cell"),
        (
            "path",
            {"bytes": b"\x89PNG" * 5000, "path": None},
            r"row 1: column 'path' holds several named values \(bytes",
        ),
        ("label", b"\xff\xfe", "row 1: column 'label' holds bytes that are no text"),
    ],
)
def test_cells_of_another_kind(folder: Path, column: str, value: object, words: str) -> None:
    rows = {"path": ["0.png", "1.png"], "label": ["a", "b"]}
    rows[column] = [value, value]
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / "t.parquet")
    with pytest.raises(DataError, match=words) as raised:
        load_data(folder / "t.parquet")
    assert len(str(raised.value)) < 300
    if not isinstance(value, list):
        return
    lines = [json.dumps({name: cells[row] for name, cells in rows.items()}) for row in (0, 1)]
    (folder / "t.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=words):
        load_data(folder / "t.jsonl")


def test_bytes_that_are_text_are_text(folder: Path) -> None:
    rows = {"path": [b"0.png", b"1.png"], "label": ["é".encode(), b"b"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / "t.parquet")
    assert load_data(folder / "t.parquet").label_names == ["é", "b"]


def test_a_list_in_the_column_of_captions_is_several_captions(folder: Path) -> None:
    rows = {"image": ["0.png", "1.png"], "caption": [["a cat", "a  small cat"], ["a dog"]]}
    pyarrow.parquet.write_table(pyarrow.table(rows), folder / "t.parquet")
    lines = [{"image": "0.png", "caption": rows["caption"][0]}, {"image": "1.png", "caption": "a dog"}]
    (folder / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in ("t.parquet", "t.jsonl"):
        assert load_captions(folder / name).by_key == {"0.png": ("a cat", "a small cat"), "1.png": ("a dog",)}
    for cell in ([], ["a", " "]):
        (folder / "t.jsonl").write_text(json.dumps({"image": "0.png", "caption": cell}))
        with pytest.raises(DataError, match="row 1: the caption is empty"):
            load_captions(folder / "t.jsonl")


def test_words_for_missing_values_are_kept_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = "path,label,group\n0.png,nan,NaN\n1.png,b,nan\n2.png,none,g\n3.png,nan,nan\n"
    (folder / "t.csv").write_text(text)
    with caplog.at_level(logging.WARNING, "acclimate.data"):
        data = load_data(folder / "t.csv")
    assert data.class_names == ("b", "nan", "none")
    assert "the label of 2 rows is the word 'nan', and is kept (row 2, 5); if it means that" in caplog.text
    assert "the label of 1 row is the word 'none'" in caplog.text
    assert "the group of 2 rows is the word 'nan', and is kept (row 3, 5)" in caplog.text
    assert "leave the cells empty" in caplog.text


def test_the_last_of_two_equal_names_in_a_row_does_not_win(folder: Path) -> None:
    (folder / "t.jsonl").write_text('{"path": "0.png", "label": "a"}\n{"path": "1.png", "label": "b", "label": "c"}\n')
    with pytest.raises(DataError, match=r"t\.jsonl row 2: not valid JSON \('label' stands there twice\)"):
        load_data(folder / "t.jsonl")
    (folder / "s.json").write_text('{"train": [["0.png", 0, "a"]],\n "train": [["1.png", 1, "b"]]}')
    with pytest.raises(DataError, match=r"s\.json line 2: not valid JSON \('train' stands there twice\)"):
        load_data(folder / "s.json")
