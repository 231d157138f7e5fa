"""The commands that are printed as the next step, run as they are printed."""

from __future__ import annotations

import json
import shlex

import pytest

from acclimate.data import load_data
from acclimate.methods import registry
from tests.helpers.benches import entries, write_spec
from tests.helpers.command import QUICK, acclimate
from tests.helpers.pictures import make_pictures, make_split_pictures

pytestmark = pytest.mark.slow  # each runs the commands that another one prints

MAE = ("--image-size", 32, "--patch-size", 8, "--epochs", 0, "--device", "cpu")


def printed(done):
    """The last command on the screen, as a shell takes it apart."""
    assert done.code == 0, done.err
    return shlex.split([line for line in done.out.splitlines() if line.startswith("  acclimate ")][-1])[1:]


@pytest.fixture
def follow(tiny_folders, tmp_path):
    """Pretrains, runs what is printed, with a quicker method and backbone, and returns the record and the splits."""

    def run(data, *options):
        words = printed(acclimate("pretrain", "mae", data, "--out", tmp_path / "an encoder", *MAE, *options))
        assert words[:4] == ["adapt", str(data), "--method", "gdpl"]
        quick = ("--method", "domain-linear-probe", "--backbone", tiny_folders["clip"], "--device", "cpu")
        done = acclimate(*words, *quick, "--out", tmp_path / "run")
        assert done.code == 0, done.err
        splits = json.loads((tmp_path / "run/splits.json").read_text())["splits"]
        return json.loads((tmp_path / "run/record.json").read_text()), splits

    return run


@pytest.fixture
def folder(tmp_path):
    return make_pictures(tmp_path / "my images", per_class=10)


def test_another_split(folder, follow):
    record, splits = follow(folder, "--split-seed", 3, "--domain", "sar")
    assert [row["key"] for row in splits["test"]] == sorted(load_data(folder, split_seed=3).test.keys)
    assert record["domain"] == "sar"


def test_images_that_cannot_be_read(folder, follow):
    (folder / "cat/000.png").write_bytes(b"no image")
    record, _ = follow(folder, "--on-corrupt", "skip")
    assert record["data"]["skipped"] == ["cat/000.png"]


def test_folders_that_could_mean_something_else(tmp_path, follow):
    folder = make_split_pictures(tmp_path / "data", splits={"north": 4, "south": 4})
    _, splits = follow(folder, "--layout", "class")
    assert {row["label"] for row in splits["test"]} == {"north", "south"}


def test_images_that_lie_elsewhere(folder, tmp_path, follow):
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    _, splits = follow(tmp_path / "labels.csv", "--images-root", folder)
    assert {row["label"] for row in splits["test"]} == {"cat", "dog", "river"}


def test_nothing_is_carried_over_that_was_not_given_or_is_not_known_there(folder, tmp_path):
    words = printed(acclimate("pretrain", "mae", folder, "--out", tmp_path / "mae", *MAE, "--layout", "auto"))
    assert words == ["adapt", str(folder), "--method", "gdpl", "--domain-encoder", str(tmp_path / "mae")]


@pytest.mark.parametrize("case", ["no labels", "all"])
def test_images_that_may_not_be_tested_on_are_not_offered(folder, tmp_path, case):
    data, options = (folder / "cat", ()) if case == "no labels" else (folder, ("--split", "all", "--split-seed", 3))
    done = acclimate("pretrain", "mae", data, "--out", tmp_path / "mae", *MAE, *options)
    named = ["--method", "gdpl", "--domain-encoder", str(tmp_path / "mae")]
    assert printed(done) == ["adapt", "LABELLED_IMAGES", *named]
    refused = acclimate("adapt", folder, *named, "--split-seed", 3)
    assert refused.code == 2
    assert f"my images: --domain-encoder {shlex.quote(str(tmp_path / 'mae'))} has learned from" in refused.error
    assert refused.error.endswith("; name another one, for it has learned from all images of its data")


def test_after_a_check(folder):
    assert printed(acclimate("data", "check", folder, "--split-seed", 3)) == [
        "adapt", str(folder), "--split-seed", "3", "--out", "runs/mine",
    ]  # fmt: skip
    (folder / "cat/000.png").write_bytes(b"no image")
    done = acclimate("data", "check", folder)
    assert done.code == 1
    assert "with --on-corrupt skip" in done.out  # the finding speaks as the command line does
    step = ["acclimate", "adapt", folder, "--on-corrupt", "skip", "--out", "runs/mine"]
    assert done.out.endswith(f"Next, once the errors are mended:\n  {shlex.join(map(str, step))}\n")
    assert "acclimate adapt" not in acclimate("data", "check", folder, "--json").out


def test_after_labels(run, folder, tmp_path):
    done = acclimate("predict", run, folder, "--out", tmp_path / "labels.csv")
    assert done.code == 0, done.err
    assert done.err.endswith(f"  {shlex.join(['acclimate', 'evaluate', str(run), 'CHECKED_IMAGES'])}\n")
    assert "CHECKED_IMAGES" not in acclimate("predict", run, folder, "--out", tmp_path / "labels.csv", "--quiet").err


@pytest.mark.slow
def test_after_a_bench(folder, tiny_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_spec(tmp_path / "specs/a spec.yaml", entries(folder.name, tiny_folders["clip"], methods=["zero-shot"]))
    words = ("bench", "specs/a spec.yaml", "--out", "out", "--data-root", ".", "--device", "cpu")
    done = acclimate(*words)
    assert done.code == 0, done.err
    step = shlex.split(done.err.splitlines()[-1])[1:]
    assert step == [*words, "--compare", "METHOD"]
    compared = acclimate(*step[:-1], "zero-shot")
    assert compared.code == 0, compared.err
    assert "METHOD" not in compared.err


OWN = """
from acclimate.methods import get_method, register


@register
class Own(get_method("zero-shot")):
    name = "own-zero-shot"
    title = "A method of one's own"
"""


def test_a_run_of_a_method_of_ones_own(picture_folder, tiny_folders, tmp_path):
    (tmp_path / "own method.py").write_text(OWN)
    words = ("--method", "own-zero-shot", "--plugin", tmp_path / "own method.py", "--out", tmp_path / "a run")
    try:
        done = acclimate("adapt", picture_folder, "--backbone", tiny_folders["clip"], *QUICK, *words)
        assert printed(done) == [
            "evaluate", str(tmp_path / "a run-linear-probe"), "OTHER_DATA", "--plugin", str(tmp_path / "own method.py"),
        ]  # fmt: skip
        assert f"--out labels.csv --plugin '{tmp_path / 'own method.py'}'" in done.out
    finally:
        registry._METHODS.pop("own-zero-shot", None)


@pytest.mark.slow
def test_word_for_word(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = acclimate("pretrain", "mae", folder.name, "--out", "runs/mae", *MAE, "--split-seed", 3, "--domain", "sar")
    assert acclimate(*printed(done), "--shots", 1, "--set", "epochs=1").code == 0
