"""Captions on the command line."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.helpers.command import acclimate


@pytest.fixture(scope="module")
def adapted(caption_folder, tiny_folders, tmp_path_factory):
    run = tmp_path_factory.mktemp("cli") / "run"
    words = ("--method", "aape", "--backbone", tiny_folders["clip"], "--set", "epochs=2", "--out", run)
    return run, acclimate("adapt", caption_folder, *words)


def test_adapt_and_evaluate(adapted, caption_folder):
    run, done = adapted
    assert done.code == 0, done.err
    assert "text @1" in done.out
    assert "image @10" in done.out
    assert "18 captions of 6 images" in done.out
    assert "acclimate predict" not in done.out
    record = json.loads((run / "record.json").read_text())
    assert record["verdict"]["metric"] == "image_to_text.recall@1"
    assert record["verdict"]["outcome"] == "within the noise"  # of six images
    assert "image by image" in done.out or "the very same images" in done.out
    assert "confused" not in done.out
    found = acclimate("evaluate", run, caption_folder, "--json").json
    assert found["verdict"] == record["verdict"]
    assert {name: value for name, value in found.items() if name not in {"baselines", "verdict"}} == record["metrics"]
    assert "18 captions of 6 images" in acclimate("evaluate", run, caption_folder).out


def test_other_captions(adapted, caption_folder, tmp_path):
    """What the run has seen is left out."""
    run, _ = adapted
    other = shutil.copytree(caption_folder, tmp_path / "other")
    (other / "captions.csv").rename(other / "mine.csv")
    text = (other / "mine.csv").read_text().replace(",train", ",").replace(",test", ",")
    (other / "mine.csv").write_text(text)
    assert acclimate("evaluate", run, other / "mine.csv", "--json").json["images"] == 6
    assert acclimate("evaluate", run, other / "mine.csv", "--split", "all", "--json").json["images"] == 18


def test_what_goes_wrong(adapted, caption_folder, picture_folder, tmp_path):
    run, _ = adapted
    predicted = acclimate("predict", run, caption_folder / "images")
    assert predicted.code == 2
    assert "learned from captions and knows no classes" in " ".join(predicted.err.split())
    refused = acclimate("adapt", caption_folder, "--method", "coop", "--out", tmp_path / "run")
    assert refused.code == 2
    assert "coop learns from labels" in refused.err
    unknown = acclimate("evaluate", run, picture_folder)
    assert unknown.code == 2
    assert "does not know the class 'cat'" in " ".join(unknown.err.split())
    assert acclimate("evaluate", run, picture_folder, "--rebind", "--json").json["samples"] == 15


def test_a_run_without_a_name_and_an_image_to_look_at(caption_folder, tiny_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("adapt", caption_folder, "--method", "aape", "--set", "epochs=1", "--backbone", tiny_folders["clip"])
    done = acclimate(*words, "--look-at", "images/train-003.png", "--json")
    assert [entry["image"] for entry in done.json["reading"]] == ["images/train-003.png"]
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("scenes-aape-allshot-seed1-")  # all captions, whatever the default of --shots
    none = acclimate(*words, "--shots", "0")
    assert none.code == 2
    assert "--shots 0: give a whole number from 1" in " ".join(none.err.split())
    absent = acclimate(*words, "--look-at", "absent.png")
    assert absent.code == 2
    assert "absent.png is not among the 12 images" in " ".join(absent.err.split())
