from __future__ import annotations

import csv
import json
import os
import shutil
import sys

import pytest

import acclimate as package
from acclimate.methods import list_methods
from tests.helpers.command import QUICK, SETTINGS, acclimate, finish, start
from tests.helpers.pictures import CLASSES, make_pictures
from tests.helpers.waiting import HANG

VERBS = [
    ("adapt",), ("evaluate",), ("predict",), ("suggest",), ("look",), ("report",), ("serve",), ("export",), ("embed",),
    ("push",), ("pull",), ("demo",), ("info",), ("cache",), ("data",), ("data", "check"), ("methods",),
    ("backbones",), (),
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(verb, flag):
    done = acclimate(*verb, flag)
    assert done.code == 0
    assert "Usage:" in done.out
    assert done.err == ""


def test_version():
    assert acclimate("--version").out == f"acclimate {package.__version__}\n"


def test_nothing_to_do_shows_what_there_is():
    for words in ((), ("data",)):
        done = acclimate(*words)
        assert done.code == 2
        assert "Usage:" in done.out + done.err


def test_adapt(adapted):
    run, done = adapted
    assert done.code == 0, done.err
    for name in ("zero-shot", "linear-probe", "coop", "accuracy", "balanced", "ECE", "NLL"):
        assert name in done.out
    assert "acclimate predict " in done.out
    assert str(run) in done.out
    assert "keeping the given split" in done.err
    assert sorted(path.name for path in run.iterdir()) == [
        "adapter.json", "adapter.safetensors", "calibration.safetensors", "log.jsonl", "predictions.parquet",
        "record.json", "splits.json",
    ]  # fmt: skip


def test_the_package_runs_as_a_module():
    assert finish(start("--version")).out == f"acclimate {package.__version__}\n"


@pytest.mark.slow
def test_adapt_siglip_in_a_process_of_its_own(tmp_path, picture_folder, tiny_folders):
    words = (
        "adapt",
        picture_folder,
        "--backbone",
        tiny_folders["siglip"],
        *QUICK,
        *SETTINGS,
        "--out",
        tmp_path / "run",
    )
    done = finish(start(*words, "--json", "--quiet"))
    assert done.code == 0, done.err
    assert done.json["metrics"]["class_names"] == list(CLASSES)
    assert "\x1b" not in done.err


def test_adapt_again_is_done_at_once(adapted, picture_folder, tiny_folders):
    run, first = adapted
    again = acclimate("adapt", picture_folder, "--backbone", tiny_folders["clip"], *QUICK, *SETTINGS, "--out", run)
    assert again.code == 0
    assert "nothing to do" in again.err
    assert again.out == first.out


def test_adapt_as_json(adapted, picture_folder, tiny_folders, tmp_path):
    words = ("adapt", picture_folder, "--backbone", tiny_folders["clip"], *QUICK, *SETTINGS)
    done = acclimate(*words, "--json", "--out", tmp_path / "run")
    assert done.json == json.loads((tmp_path / "run" / "record.json").read_text())
    assert done.json["metrics"] == json.loads((adapted[0] / "record.json").read_text())["metrics"]


def test_adapt_with_everything(tmp_path, tiny_folders, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "data", per_class=6)
    (tmp_path / "data/cat/broken.png").write_text("no image")
    (tmp_path / "names.yaml").write_text("cat: large cat\n")
    done = acclimate(
        "adapt", "data", "--method", "kgcoop", "--backbone", tiny_folders["clip"], "--shots", "all", "--seed", 3,
        "--set", "epochs=1", "--set", "augment=crop+flip", "--set", "views=1", "--domain", "natural", "--names",
        "names.yaml", "--layout", "class", "--split-seed", 2, "--on-corrupt", "skip", "--device", "cpu",
        "--precision", "bf16", "--no-cache", "--quiet",
    )  # fmt: skip
    assert done.code == 0, done.err
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("data-kgcoop-allshot-seed3")
    record = json.loads((run / "record.json").read_text())
    assert record["data"]["skipped"] == ["cat/broken.png"]
    assert json.loads((run / "adapter.json").read_text())["prompts"]["words"] == {"cat": "large cat"}


def test_adapt_without_test_images(tmp_path, tiny_folders):
    for split in ("train", "val"):
        make_pictures(tmp_path / "data" / split, per_class=3)
    words = (
        "adapt",
        tmp_path / "data",
        "--backbone",
        tiny_folders["clip"],
        *QUICK,
        *SETTINGS,
        "--out",
        tmp_path / "run",
    )
    done = acclimate(*words)
    assert done.code == 0, done.err
    assert "Nothing was measured" in done.out
    assert "has no test images" in done.err


def test_evaluate(run, picture_folder):
    done = acclimate("evaluate", run, picture_folder)
    assert done.code == 0, done.err
    assert "accuracy" in done.out
    for name in CLASSES:
        assert name in done.out
    asjson = acclimate("evaluate", run, picture_folder, "--json", "--no-cache", "--device", "cpu").json
    own = {name: value for name, value in asjson.items() if name not in {"baselines", "verdict"}}
    assert own == json.loads((run / "record.json").read_text())["metrics"]
    assert acclimate("evaluate", run, picture_folder, "--split", "val", "--json").json["samples"] == 9
    assert acclimate("evaluate", run, picture_folder, "--split", "all", "--json").json["samples"] == 42


def test_evaluate_other_classes(run, tmp_path):
    make_pictures(tmp_path / "data", ("bare land", "mill"), 3)
    refused = acclimate("evaluate", run, tmp_path / "data")
    assert refused.code == 2
    assert "does not know the class 'bare land'" in refused.error
    assert "--rebind" in refused.error
    done = acclimate("evaluate", run, tmp_path / "data", "--rebind", "--json")
    assert done.json["class_names"] == ["bare land", "mill"]


def test_predict(run, picture_folder, tmp_path):
    test = picture_folder / "test"
    done = acclimate("predict", run, test)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 15
    assert str(test / "cat/000.png") in done.out
    rows = [json.loads(line) for line in acclimate("predict", run, test, "--json", "--batch-size", 4).out.splitlines()]
    assert len(rows) == 15
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    done = acclimate("predict", run, test, "--out", tmp_path / "labels.csv")
    assert "15 rows in" in done.err
    with (tmp_path / "labels.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == [row["label"] for row in rows]


def test_predict_corrupt_among_good(run, tmp_path):
    make_pictures(tmp_path / "new", ("a", "b"), 3)
    (tmp_path / "new/a/001.png").write_bytes(b"")
    (tmp_path / "new/b/000.png").write_text("no image")
    done = acclimate("predict", run, tmp_path / "new", "--out", tmp_path / "x.jsonl")
    assert done.code == 2
    assert "2 of 6 images could not be read, the others are labelled" in done.error
    alone = acclimate("predict", run, tmp_path / "new/a/001.png")
    assert "1 of 1 image could not be read: " in alone.error
    assert "001.png" in done.error
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True, False, False]
    assert all(row["label"] or row["error"] for row in rows)


def test_data_check(picture_folder, tmp_path):
    done = acclimate("data", "check", picture_folder, "--json")
    assert done.code == 0, done.err
    assert done.json["findings"] is not None
    make_pictures(tmp_path / "data")
    (tmp_path / "data/cat/broken.png").write_text("no image")
    done = acclimate("data", "check", tmp_path / "data")
    assert done.code == 1
    assert "broken.png" in done.out
    assert "errors" in done.out


def test_methods():
    done = acclimate("methods")
    rows = acclimate("methods", "--json").json
    assert [row["name"] for row in rows] == [method.name for method in list_methods()]
    for row in rows:
        assert row["name"] in done.out
        settings = acclimate("methods", row["name"], "--json").json["settings"]
        shown = acclimate("methods", row["name"]).out
        assert all(setting["name"] in shown for setting in settings)


def test_backbones():
    done = acclimate("backbones")
    rows = acclimate("backbones", "--json").json
    assert "mini-clip" in done.out
    assert {"mini-clip", "openai/clip-vit-base-patch16"} <= {row["id"] for row in rows}
    assert {row["id"]: row["kind"] for row in rows}["mini-vlm"] == "generative"


def test_names_with_brackets_are_shown_as_they_are(tmp_path, tiny_folders):
    """Brackets are markup to the library that draws the tables."""
    data = make_pictures(tmp_path / "[bold] data", ("[red]cat", "dog[bold]"), 8)
    run = tmp_path / "[run]"
    done = acclimate("adapt", data, "--backbone", tiny_folders["clip"], *QUICK, *SETTINGS, "--out", run)
    assert done.code == 0, done.err
    assert "[bold] data" in done.out
    assert str(run) in done.out.replace("\n", "")
    done = acclimate("evaluate", run, data)
    assert "[red]cat" in done.out
    assert "dog[bold]" in done.out
    done = acclimate("predict", run, data)
    assert "[red]cat" in done.out
    assert acclimate("data", "check", data).code in {0, 1}


@pytest.mark.slow
def test_a_pipe_that_closes_early(run, tmp_path, picture_folder):
    process = start("predict", run, *[picture_folder / "test"] * 200, "--json", "--quiet")
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=HANG)
    assert "Traceback" not in process.stderr.read()


def test_a_run_that_was_moved(run, tmp_path, picture_folder, tiny_folders):
    moved = shutil.copytree(run, tmp_path / "moved run")
    assert acclimate("evaluate", moved, picture_folder, "--backbone", tiny_folders["clip"]).code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow Unicode names only")
@pytest.mark.parametrize("suffix", ["", "csv", "jsonl", "parquet"])
def test_file_names_that_are_no_unicode(run, tmp_path, suffix):
    folder = make_pictures(tmp_path / "new", ("a",), 2) / "a"
    os.rename(folder / "000.png", os.fsencode(folder) + b"/caf\xe9.png")
    words = ("--out", tmp_path / f"labels.{suffix}") if suffix else ()
    done = acclimate("predict", run, folder, *words)
    assert done.code == 0, done.err
    if not suffix or suffix == "jsonl":
        text = (tmp_path / "labels.jsonl").read_text() if suffix else done.out
        assert "caf\\" in text
