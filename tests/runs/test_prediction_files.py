from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow.parquet
import pytest

from acclimate.errors import RunError
from acclimate.methods import get_method
from acclimate.prompts import PromptSet
from acclimate.runs import prediction_files
from acclimate.runs.prediction_files import open_writer
from acclimate.tasks import Prediction, get_task

CLASSES = ("cat", 'dör, "x"')
ROWS = [
    Prediction("a.png", "cat", 0.75, np.array([0.75, 0.25])),
    Prediction("b,ü\n.png", CLASSES[1], 0.6, np.array([0.4, 0.6])),
    Prediction("c.png", "", 0.0, np.zeros(0), "cannot read image 'c.png': broken"),
]
COLUMNS = ["path", "label", "probability", "p(cat)", f"p({CLASSES[1]})", "error"]
EXPECTED = [
    ["a.png", "cat", 0.75, 0.75, 0.25, ""],
    ["b,ü\n.png", CLASSES[1], 0.6, 0.4, 0.6, ""],
    ["c.png", "", None, None, None, "cannot read image 'c.png': broken"],
]


@pytest.fixture(scope="module")
def method(tiny):
    """A method that tells the two classes apart."""
    kind = get_method("zero-shot")
    found = kind(tiny, kind.Config(), PromptSet("natural"))
    found.bind(CLASSES)
    return found


TASK = get_task("classification")


def read(path):
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row.update({key: float(row[key]) if row[key] else None for key in COLUMNS[2:5]})
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return pyarrow.parquet.read_table(path).to_pylist()


def written(path, method, rows=ROWS):
    writer = open_writer(path, TASK.columns(method))
    for row in rows:
        writer.write(TASK.row(method, row))
    writer.close()
    return read(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_round_trip(tmp_path, method, suffix):
    rows = written(tmp_path / "new" / f"labels.{suffix}", method)
    assert [list(row) for row in rows] == [COLUMNS] * 3
    assert [list(row.values()) for row in rows] == EXPECTED
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_more_rows_than_one_group(tmp_path, method, suffix, monkeypatch):
    monkeypatch.setattr(prediction_files, "ROW_GROUP", 7)
    rows = [Prediction(f"{index}.png", "cat", 0.75, np.array([0.75, 0.25])) for index in range(24)]
    assert [row["path"] for row in written(tmp_path / f"x.{suffix}", method, rows)] == [row.path for row in rows]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "CSV"])
def test_no_rows(tmp_path, method, suffix):
    writer = open_writer(tmp_path / f"x.{suffix}", TASK.columns(method))
    writer.close()
    assert (tmp_path / f"x.{suffix}").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_an_unfinished_file_is_not_seen_and_an_abandoned_one_leaves_no_trace(tmp_path, method, suffix):
    path = tmp_path / f"labels.{suffix}"
    path.write_text("of yesterday")
    writer = open_writer(path, TASK.columns(method))
    writer.write(TASK.row(method, ROWS[0]))
    assert path.read_text() == "of yesterday"
    assert all(entry.name.startswith(".") for entry in tmp_path.iterdir() if entry != path)
    writer.abandon()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "of yesterday"


def test_places_that_cannot_be_written(tmp_path, method):
    columns = TASK.columns(method)
    with pytest.raises(RunError, match=r"x\.xlsx: write predictions to a file that ends in \.csv, \.jsonl, \.parquet"):
        open_writer(tmp_path / "x.xlsx", columns)
    (tmp_path / "file").write_text("")
    for name in ("file/x.csv", "file/x.parquet"):
        with pytest.raises(RunError, match="cannot write"):
            open_writer(tmp_path / name, columns)
    (tmp_path / "x.csv").mkdir()
    writer = open_writer(tmp_path / "x.csv", columns)
    with pytest.raises(RunError, match="cannot write"):
        writer.close()
