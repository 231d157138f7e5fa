"""What to label next: suggestions of a run, as rows, files and words."""

from __future__ import annotations

import csv
import json
import shutil

import pyarrow.parquet as pq
import pytest
from PIL import Image

from acclimate import load
from acclimate.errors import ConfigError, DataError
from acclimate.runs import suggest, suggesting
from tests.helpers.command import acclimate
from tests.helpers.pictures import CLASSES, make_pictures, picture


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """New pictures of three classes, in one folder."""
    return make_pictures(tmp_path_factory.mktemp("suggest") / "new", per_class=8, seed=900, noise=60)


@pytest.fixture(scope="module")
def model(run, tiny):
    return load(run.folder, tiny)


def test_suggestions_are_new_and_one_for_each_place(model, unlabelled):
    found = suggest(model, unlabelled, 6)
    assert [row.rank for row in found.rows] == [1, 2, 3, 4, 5, 6]
    assert len({row.path for row in found.rows}) == 6
    assert (found.images, found.compared, found.labelled, found.copies) == (24, 24, 0, 0)
    assert sum(row.stands_for for row in found.rows) == 24
    predictions = {prediction.path: prediction for prediction in model.predict(unlabelled)}
    for row in found.rows:
        said = predictions[row.path]
        assert row.label == said.label
        assert row.probability == pytest.approx(said.probability, abs=1e-5)
        first, second = sorted(said.probabilities, reverse=True)[:2]
        assert row.uncertainty == pytest.approx(1 - first + second, abs=1e-5)


def test_neither_the_order_nor_the_size_of_batches_counts(model, unlabelled):
    files = sorted(unlabelled.rglob("*.png"))
    one, other = suggest(model, files[::-1], 5, batch_size=7), suggest(model, unlabelled, 5)
    assert [(row.path, row.stands_for) for row in one.rows] == [(row.path, row.stands_for) for row in other.rows]


def test_what_has_a_label_or_was_seen_is_left_out(model, picture_folder, unlabelled, tmp_path):
    shutil.copy(unlabelled / "cat" / "000.png", tmp_path / "copy.png")
    found = suggest(model, [tmp_path, picture_folder, unlabelled], 100)
    data = len(list(picture_folder.rglob("*.png")))
    assert (found.images, found.labelled, found.copies, found.compared) == (data + 25, data, 1, 24)
    assert not [row.path for row in found.rows if str(picture_folder) in row.path]
    with pytest.raises(DataError, match=f"none of the {data} images is without a label"):
        suggest(model, picture_folder)


def test_images_near_what_was_learned_come_later(model, picture_folder, tmp_path):
    """A picture that looks as a training picture does, but for a few pixels, is nothing new."""
    (frozen,) = [row for row in model.frozen["splits"]["train"] if row["label"] == CLASSES[0]][:1]
    source = picture_folder / frozen["key"]
    with Image.open(source) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    for number in range(3):
        picture(number, 77, noise=60).save(tmp_path / f"new{number}.png")
    alone = suggest(model, tmp_path, 9)
    beside = suggest(model, [tmp_path, source], 9)
    assert "mirrored.png" in " ".join(row.path for row in alone.rows)
    assert "mirrored.png" not in " ".join(row.path for row in beside.rows)
    assert len(beside.rows) == 3


def test_of_many_images_the_same_are_compared_whatever_their_order(model, unlabelled, monkeypatch):
    monkeypatch.setattr(suggesting, "MOST", 10)
    files = sorted(unlabelled.rglob("*.png"))
    found = suggest(model, files, 4, batch_size=8)
    assert (found.images, found.compared, sum(row.stands_for for row in found.rows)) == (24, 10, 10)
    assert {row.path for row in suggest(model, files[::-1], 4, batch_size=8).rows} == {row.path for row in found.rows}


def test_images_in_memory(model):
    found = suggest(model, [picture(0, 1), picture(1, 1), picture(0, 1)], 3)
    assert (found.images, found.copies, len(found.rows)) == (3, 1, 2)
    assert found.rows[0].path == ""


def test_wrong_arguments(model, unlabelled):
    with pytest.raises(ConfigError, match="`count`"):
        suggest(model, unlabelled, 0)
    with pytest.raises(DataError, match="nowhere"):
        suggest(model, "nowhere*")


def test_the_command_writes_a_table_and_a_sheet(run, unlabelled, tmp_path):
    done = acclimate("suggest", run.folder, unlabelled, "-n", 7, "--out", tmp_path / "to label", "--quiet")
    assert done.code == 0, done.err
    with (tmp_path / "to label" / "suggestions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 8)]
    assert all(row["path"] in done.out for row in rows)
    with Image.open(tmp_path / "to label" / "sheet.png") as sheet:
        assert sheet.width > 5 * 192
        assert sheet.height > 2 * 192
    assert f"acclimate adapt YOUR_DATA --split-from {run.folder} --out runs/more" in done.out
    told = acclimate("suggest", run.folder, unlabelled, "-n", 7, "--json", "--out", tmp_path / "few.jsonl").json
    lines = [json.loads(line) for line in (tmp_path / "few.jsonl").read_text().splitlines()]
    assert lines == told["rows"]
    assert [row["path"] for row in lines] == [row["path"] for row in rows]
    acclimate("suggest", run.folder, unlabelled, "-n", 7, "--out", tmp_path / "few.parquet")
    assert pq.read_table(tmp_path / "few.parquet").to_pylist() == lines
    assert (tmp_path / "few.png").exists()


def test_an_image_that_cannot_be_read_is_named_at_the_end(run, unlabelled, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    done = acclimate("suggest", run.folder, unlabelled, tmp_path, "-n", 3, "--out", tmp_path / "out")
    assert done.code == 2
    assert "1 of 25 images could not be read, the others are compared" in done.error
    assert (tmp_path / "out" / "suggestions.csv").exists()


def test_a_run_that_tells_no_classes_apart_is_refused(caption_folder, tiny_folders, tmp_path):
    words = ("--method", "zero-shot", "--backbone", tiny_folders["clip"], "--device", "cpu", "--out", tmp_path / "run")
    assert acclimate("adapt", caption_folder, *words).code == 0
    done = acclimate("suggest", tmp_path / "run", caption_folder)
    assert done.code == 2
    assert "suggestions need a run that tells classes apart" in done.error
