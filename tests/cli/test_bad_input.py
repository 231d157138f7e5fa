"""Bad input ends in one clear line on standard error and exit code 2, never in a traceback."""

from __future__ import annotations

import gc
import json
import os
import shutil
import warnings

import pytest
import torch

from acclimate.errors import RunError
from acclimate.files import write_json
from acclimate.training.checkpoint import save_tensors
from acclimate.training.journal import Journal
from tests.helpers.command import QUICK, SETTINGS, acclimate, finish, interrupted, start
from tests.helpers.disks import full_disk
from tests.helpers.pictures import make_pictures, make_split_pictures
from tests.helpers.runs import forget_places
from tests.helpers.tiny_backbones import tiny_clip


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder full of bad inputs."""
    root = tmp_path_factory.mktemp("bad")
    (root / "empty").mkdir()
    (root / "notes").mkdir()
    (root / "notes/a.txt").write_text("x")
    make_pictures(root / "one_class", ("cat",), 4)
    make_pictures(root / "good", per_class=5)
    for damage, content in {"corrupt": b"no image", "zero": b""}.items():
        make_pictures(root / damage, per_class=5)
        for path in (root / damage / "cat").iterdir():
            path.write_bytes(content)
    make_pictures(root / "tables/images", ("cat", "dog"), 2)
    tables = {
        "column.csv": "file,label\nimages/cat/000.png,cat\n",
        "gone.csv": "path,label\nimages/cat/000.png,cat\nimages/dog/9.png,dog\n",
        "blank.csv": "",
        "json.jsonl": "{nonsense\n",
        "table.xlsx": "x",
    }
    for name, text in tables.items():
        (root / "tables" / name).write_text(text)
    (root / "names.yaml").write_text("cat: [1, 2]\n")
    (root / "no_backbone").mkdir()
    return root


def adapt(data, tiny_folders, *words):
    return ("adapt", data, "--backbone", tiny_folders["clip"], *QUICK, *SETTINGS, *words)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("missing", "no such file or folder"),
        ("empty", "empty"),
        ("notes", "notes"),
        ("one_class", "only one class"),
        ("corrupt", "cat/00"),
        ("zero", "cat/00"),
        ("tables/column.csv", "path"),
        ("tables/gone.csv", "images/dog/9.png"),
        ("tables/blank.csv", "blank.csv"),
        ("tables/json.jsonl", "json.jsonl"),
        ("tables/table.xlsx", "table.xlsx"),
        ("x" * 300, "no such file or folder"),
    ],
)
@pytest.mark.parametrize("verb", ["adapt", "evaluate", "check"])
def test_bad_data(place, tmp_path, run, tiny_folders, data, words, verb):
    command = {
        "adapt": adapt(place / data, tiny_folders, "--out", tmp_path / "out"),
        "evaluate": ("evaluate", run, place / data),
        "check": ("data", "check", place / data),
    }[verb]
    done = acclimate(*command)
    if verb == "check" and data in {"corrupt", "zero"}:
        assert done.code == 1
        assert "cat/00" in done.out
        assert "with --on-corrupt skip" in " ".join(done.out.split())  # not as Python spells it
        return
    if verb == "evaluate" and data == "one_class":  # enough to measure on
        assert done.code == 0
        return
    assert done.code == 2
    assert words in done.error.replace("File name too long", "name too long")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--method", "coopp"), "did you mean 'coop'?"),
        (("--set", "epoch=3"), "unknown setting 'epoch'; did you mean 'epochs'?"),
        (("--set", "epochs=many"), "epochs=many: give a whole number"),
        (("--set", "epochs=0"), "epochs=0 is out of range"),
        (("--set", "epochs"), "write it as name=value"),
        (("--set", "optimizer=adam"), "sgd, adamw"),
        (("--set", "context_tokens=500"), "context"),
        (("--shots", "0"), "--shots 0"),
        (("--shots", "-3"), "--shots -3"),
        (("--shots", "few"), "--shots few: give a whole number"),
        (("--shots", "1.5"), "--shots 1.5"),
        (("--seed", "x"), "--seed"),
        (("--domain", "sattelite"), "satellite"),
        (("--layout", "heap"), "--layout heap is unknown"),
        (("--names", "missing.yaml"), "missing.yaml"),
        (("--names", "names.yaml"), "names.yaml"),
        (("--images-root", "nowhere"), "nowhere"),
        (("--backbone", "no_backbone"), "config.json"),
        (("--backbone", "missing"), "no backbone folder 'missing'"),
        (("--backbone", "names.yaml"), "is a file"),
        (("--backbone", ""), "--backbone is ''; give a folder, a Hub id"),
        (("--device", "tpu"), "--device"),
        (("--precision", "int8"), "--precision"),
        (("--plugin", "nowhere"), "plugin nowhere: cannot be imported"),
        (("--precision", "fp16"), "--precision fp16 needs a GPU"),
        (("--out", "names.yaml"), "is a file; name a folder with --out"),
        (("--out", "names.yaml/run"), "cannot make the folder"),
        (("--out", "notes"), "holds other files (such as a.txt)"),
        (("--out", "x" * 300), "name too long"),
        (("--nonsense",), "No such option"),
        (("surplus",), "surplus"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_options(place, tmp_path, tiny_folders, monkeypatch, words, expected):
    monkeypatch.chdir(place)
    done = acclimate(*adapt("good", tiny_folders, "--out", tmp_path / "out", *words))
    assert done.code == 2
    assert expected in done.error.replace("File name too long", "name too long")


def test_a_device_that_is_not_there(place, tmp_path, tiny_folders):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    done = acclimate(*adapt(place / "good", tiny_folders, "--out", tmp_path / "out", "--device", "cuda"))
    assert done.code == 2
    assert "--device cuda: this machine" in done.error


def test_a_missing_argument_and_a_verb_that_does_not_exist():
    for words, expected in {
        ("adapt",): "DATA",
        ("predict",): "RUN",
        ("predict", "runs/a"): "IMAGES",
        ("adapts", "x"): "Did you mean 'adapt'",
        ("data", "chekc"): "check",
        ("methods", "coopp"): "did you mean 'coop'?",
    }.items():
        done = acclimate(*words)
        assert done.code == 2
        assert expected in done.error
        assert "--help" in done.error or "methods:" in done.error


@pytest.mark.slow
def test_the_hub_cannot_be_reached(place, tmp_path):
    words = ("adapt", place / "good", "--backbone", "nobody/nothing", "--out", tmp_path / "out")
    done = finish(start(*words, env={"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}))
    assert done.code == 2
    assert "nobody/nothing" in done.error
    assert "mini-clip" in done.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("verb", "rest"), [("evaluate", "good"), ("predict", "good")])
def test_bad_runs(place, tmp_path, run, tiny_folders, verb, rest):
    def error(folder, *words):
        done = acclimate(verb, folder, place / rest, *words)
        assert done.code == 2
        return done.error

    assert "there is no such run folder" in error(tmp_path / "nothing")
    assert "adapter.json" in error(place / "empty")
    other = tiny_clip(tmp_path / "other", seed=5)
    message = error(run, "--backbone", other)
    assert str(other) in message
    assert str(tiny_folders["clip"]) in message
    assert "trained on" in error(run, "--backbone", tiny_folders["siglip"])
    damaged = shutil.copytree(run, tmp_path / "damaged")
    (damaged / "adapter.safetensors").write_bytes(b"x")
    assert "adapter.safetensors" in error(damaged)
    gone = shutil.copytree(run, tmp_path / "gone")
    info = json.loads((gone / "adapter.json").read_text())
    info["backbone"]["id"] = str(tmp_path / "moved away")
    (gone / "adapter.json").write_text(json.dumps(info))
    forget_places(gone)
    assert "moved away" in error(gone)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("missing.png",), "missing.png"),
        (("notes/a.txt",), "a.txt"),
        (("notes",), "no image in this folder"),
        (("nothing/*.png",), "no file matches this pattern"),
        (("good", "--out", "labels.xlsx"), ".csv, .jsonl, .parquet"),
        (("good", "--out", "names.yaml/labels.csv"), "cannot write"),
        (("good", "--batch-size", "0"), "--batch-size"),
        (("x" * 300,), "name too long"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_bad_predictions(place, run, monkeypatch, words, expected):
    monkeypatch.chdir(place)
    done = acclimate("predict", run, *words)
    assert done.code == 2
    assert expected in done.error.replace("File name too long", "name too long")


def test_evaluate_a_split_that_is_not_there(place, run):
    assert "--split tset" in acclimate("evaluate", run, place / "good", "--split", "tset").error


def test_another_run_in_the_folder(run, picture_folder, tiny_folders):
    done = acclimate(*adapt(picture_folder, tiny_folders, "--out", run, "--seed", "7"))
    assert done.code == 2
    assert "--overwrite" in done.error


@pytest.mark.slow
def test_a_full_disk_at_any_file(tmp_path, tiny_folders):
    """The list of splits is written first; it is short here, so that larger files fail after it."""
    data = make_split_pictures(tmp_path / "data", ("cat", "dog"), {"train": 1, "test": 1})
    words = adapt(data, tiny_folders, "--no-cache", "--set", "epochs=25", "--set", "context_tokens=16", "--out")
    acclimate(*words, tmp_path / "enough")
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "enough").iterdir()}
    for name, size in sizes.items():
        run = tmp_path / f"run {name}"
        with full_disk(int(0.9 * size)):  # times in the record vary in length
            done = acclimate(*words, run)
        assert done.code == 2, done.err
        assert "free some space" in done.error
        assert not list(run.glob(".*")), "something unfinished was left behind"
        assert acclimate(*words, run).code == 0  # space was made: the same command goes on
        assert (run / "adapter.safetensors").read_bytes() == (tmp_path / "enough/adapter.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("adapter.safetensors", lambda path: save_tensors({"context": torch.zeros(100)}, path)),
        ("record.json", lambda path: write_json(path, ["x" * 200])),
        ("log.jsonl", lambda path: Journal(path).write(text="x" * 200)),
    ],
)
def test_the_file_that_cannot_be_written_is_named(tmp_path, name, write):
    with full_disk(100), pytest.raises(RunError, match=rf"cannot write .*{name}: .*free some space"):
        write(tmp_path / name)


def test_a_full_disk_in_the_cache(tmp_path, picture_folder, tiny_folders, monkeypatch):
    monkeypatch.setenv("ACCLIMATE_CACHE", str(tmp_path / "cache"))
    with full_disk(200):
        done = acclimate(*adapt(picture_folder, tiny_folders, "--out", tmp_path / "run"))
    assert done.code == 2
    assert "free some space" in done.error


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_full_disk_for_predictions(tmp_path, run, picture_folder, suffix):
    with full_disk(2000), warnings.catch_warnings():
        warnings.simplefilter("error")
        done = acclimate("predict", run, *[picture_folder] * 20, "--out", tmp_path / f"labels.{suffix}")
        gc.collect()
    assert done.code == 2, done.err
    assert "free some space" in done.error
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path, picture_folder, tiny_folders):
    tmp_path.chmod(0o500)
    done = acclimate(*adapt(picture_folder, tiny_folders, "--out", tmp_path / "run"))
    assert done.code == 2
    assert "cannot make the folder" in done.error


def test_interrupted_from_the_keyboard(tmp_path, picture_folder, tiny_folders):
    words = adapt(picture_folder, tiny_folders, "--out", tmp_path / "run", "--set", "epochs=100000")
    log = tmp_path / "run/log.jsonl"
    done = interrupted(lambda: log.exists() and log.stat().st_size, *words)
    assert done.code == 130
    assert done.error == "error: interrupted"  # there is no checkpoint yet, so nothing is promised
