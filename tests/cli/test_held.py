"""Files that hold many images from the command line: learned from, measured on, predicted, looked at and suggested."""

from __future__ import annotations

import csv
import json

import pytest

from tests.helpers.command import QUICK, acclimate
from tests.helpers.pictures import CLASSES, make_split_pictures
from tests.helpers.shards import pictures, write_hub_parquet, write_shard


def parquet(folder):
    parts = {"train": pictures(6), "test": pictures(3, 1)}
    for name, rows in parts.items():
        write_hub_parquet(folder / "data" / f"{name}-00000-of-00001.parquet", rows)
    return folder, folder / "data" / "test-00000-of-00001.parquet", "test-00000-of-00001.parquet/000000000"


def shards(folder):
    for name, rows in {"train-000": pictures(3), "train-001": pictures(3, 2), "test-000": pictures(3, 1)}.items():
        write_shard(folder / f"{name}.tar", rows)
    return folder / "{train-{000..001},test-000}.tar", folder / "test-000.tar", "test-000.tar/0000.png"


def with_metadata(folder):
    make_split_pictures(folder, CLASSES, {"train": 6, "test": 3})
    for split in ("train", "test"):
        files = sorted((folder / split).rglob("*.png"))
        rows = [{"file_name": file.relative_to(folder / split).as_posix(), "label": file.parent.name} for file in files]
        lines = "\n".join(map(json.dumps, rows))
        (folder / split / "metadata.jsonl").write_text(lines)
    return folder, folder / "test", "test/cat/000.png"


@pytest.mark.parametrize("make", [parquet, shards, pytest.param(with_metadata, marks=pytest.mark.slow)])
def test_layouts_of_tables(make, tmp_path, tiny_folders):
    source, new, first = make(tmp_path / "pets")
    run, words = tmp_path / "run", ("--backbone", tiny_folders["clip"], "--method", "zero-shot", *QUICK)
    done = acclimate("adapt", source, *words, "--out", run)
    assert done.code == 0, done.err
    told = json.loads((run / "record.json").read_text())["data"]
    assert (told["split"], told["images"], told["classes"]) == ("given", {"train": 12, "val": 0, "test": 9}, 3)
    done = acclimate("evaluate", run, source, "--json")
    assert done.code == 0, done.err
    done = acclimate("predict", run, new, "--out", tmp_path / "labels.csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader((tmp_path / "labels.csv").open()))
    assert len(rows) == 9
    assert rows[0]["path"].endswith(first)


def test_predictions_go_on_past_what_cannot_be_read(run, tmp_path):
    rows = pictures(1)
    file = write_hub_parquet(tmp_path / "new.parquet", [rows[0], (b"no image", 1), rows[2]])
    done = acclimate("predict", run, file, "--json")
    assert done.code == 2
    assert len(done.out.splitlines()) == 3
    assert f"cannot read image '{file}/000000001': it is not an image of a known format" in done.err


def test_images_of_shards_are_looked_at_and_suggested(run, tmp_path):
    shard = write_shard(tmp_path / "new.tar", pictures(4, 3))
    done = acclimate("suggest", run, shard, "-n", "3", "--out", tmp_path / "next")
    assert done.code == 0, done.err
    assert "not on the sheet" not in done.err
    rows = list(csv.DictReader((tmp_path / "next" / "suggestions.csv").open()))
    assert all(row["path"].startswith(f"{shard}/0") for row in rows)
    done = acclimate("look", run, rows[0]["path"], "--out", tmp_path / "maps")
    assert done.code == 0, done.err


def test_a_shard_that_is_no_data_is_one_line(tmp_path):
    done = acclimate("adapt", write_shard(tmp_path / "a.tar", pictures(2), "seg"), "--method", "zero-shot")
    assert done.code == 2
    assert done.err.strip().splitlines()[-1].startswith("error: a.tar: '0000' has no label; WebDataset has it as 0000")
