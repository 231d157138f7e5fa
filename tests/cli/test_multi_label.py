"""Images with several labels, as a user types it: adapted to, measured, labelled, compared."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from acclimate.bench.scores import read_scores
from tests.helpers.benches import write_spec
from tests.helpers.command import acclimate
from tests.helpers.pictures import make_labelled_pictures

FIGURES = ("mean_average_precision", "macro_f1", "micro_f1", "subset_accuracy")
ON = ("--shots", "all", "--domain", "natural", "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_labelled_pictures(tmp_path_factory.mktemp("labels") / "scenes")


def adapt(place, tiny_folders, run, *words):
    return acclimate("adapt", place, "--backbone", tiny_folders["clip"], *ON, "--out", run, *words)


@pytest.fixture(scope="module")
def adapted(place, tiny_folders, tmp_path_factory):
    """What `adapt` says without a method, and the run that it leaves."""
    run = tmp_path_factory.mktemp("labels") / "run"
    return run, adapt(place, tiny_folders, run, "--multi-label")


def test_a_method_stands_in_for_auto(adapted):
    run, done = adapted
    assert done.code == 0, done.err
    assert "auto does no multi-label classification; kernel-ridge stands in for it" in done.err
    record = json.loads((run / "record.json").read_text())
    assert (record["task"], record["method"]) == ("multi-label", "kernel-ridge")
    assert list(record["baselines"]) == ["zero-shot", "linear-probe"]
    assert all(record["metrics"][name]["value"] > 0.6 for name in FIGURES)
    assert record["metrics"]["per_label"].keys() == {"dark", "red", "striped"}
    assert record["data"]["labels_an_image"] == {"train": 1.5, "test": 1.5}
    assert record["verdict"]["metric"] == "subset_accuracy"
    thresholds = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    assert (thresholds["stage"], thresholds["folds"]) == ("thresholds", 5)
    for name, row in record["metrics"]["per_label"].items():
        assert row["threshold"] == pytest.approx(thresholds["thresholds"][name])
    assert "thresholds: by F1 on the training images, out of fold" in " ".join(done.out.split())


def test_the_run_is_measured_again_and_known_again(adapted, place, tiny_folders):
    run, _ = adapted
    record = json.loads((run / "record.json").read_text())
    found = acclimate("evaluate", run, place, "--device", "cpu", "--json", "-q").json
    assert {name: found[name] for name in FIGURES} == {name: record["metrics"][name] for name in FIGURES}
    shown = acclimate("evaluate", run, place, "--device", "cpu", "-q").out
    assert all(word in shown for word in ("striped", "threshold", "AP"))
    again = adapt(place, tiny_folders, run, "--multi-label")
    assert "finished; nothing to do" in again.err
    other = adapt(place, tiny_folders, run, "--method", "kernel-ridge")  # the same table, of which each cell is a class
    assert "holds a finished run of other data or settings" in other.err


def test_labels_are_written_as_they_are_read(adapted, place, tmp_path):
    run, _ = adapted
    images = sorted((place / "images").glob("*.png"))
    for end in ("csv", "jsonl"):
        assert acclimate("predict", run, *images, "--out", tmp_path / f"labels.{end}", "--device", "cpu").code == 0
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "p(dark)", "p(red)", "p(striped)", "error"]
    thresholds = json.loads((run / "record.json").read_text())["metrics"]["per_label"]
    for row in rows:
        had = [name for name in ("dark", "red", "striped") if float(row[f"p({name})"]) >= thresholds[name]["threshold"]]
        assert row["label"] == ("|".join(had) or "|")
    found = acclimate("evaluate", run, tmp_path / "labels.csv", "--split", "all", "--device", "cpu", "--json", "-q")
    assert found.json["subset_accuracy"]["value"] == 1.0
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert [line["label"] for line in lines] == [row["label"] for row in rows]
    told = acclimate("predict", run, images[0], "--device", "cpu", "--json", "-q").json
    assert set(told["labels"]) == set(rows[0]["label"].split("|")) - {""}
    assert np.allclose(
        [told["probabilities"][name] for name in thresholds], [float(rows[0][f"p({name})"]) for name in thresholds]
    )


def test_what_cannot_be_read_has_no_labels(adapted, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    done = acclimate("predict", adapted[0], tmp_path / "bad.png", "--out", tmp_path / "rows.csv", "--device", "cpu")
    with (tmp_path / "rows.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["label"], row["p(red)"]) == ("", "")
    assert row["error"]
    assert done.code == 2


@pytest.mark.parametrize("method", ["zero-shot", "linear-probe", "gda"])
def test_every_method_that_gives_labels(place, tiny_folders, tmp_path, method):
    done = adapt(
        place, tiny_folders, tmp_path / "run", "--multi-label", "--method", method, "--json", "-q", "--shots", 2
    )
    assert done.code == 0, done.err
    assert done.json["metrics"]["mean_average_precision"]["value"] > 0.3
    found = acclimate("evaluate", tmp_path / "run", place, "--device", "cpu", "--json", "-q").json
    assert found["micro_f1"] == done.json["metrics"]["micro_f1"]


def refused(*words):
    done = acclimate(*words, "--device", "cpu")
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error")]
    return line


def test_others_refuse_in_one_line(place, adapted, picture_folder, tiny_folders, tmp_path):
    run, _ = adapted
    on = ("--backbone", tiny_folders["clip"], "--out", tmp_path / "run", "--multi-label")
    told = refused("adapt", place, *on, "--method", "coop")
    assert (
        "coop gives each image one; methods that do: domain-linear-probe, gda, kernel-ridge, linear-probe, zero-shot"
        in told
    )
    assert "base=uniform" in refused("adapt", place, *on, "--method", "kernel-ridge", "--set", "base=zero-shot")
    assert "several data sets are learned from together" in refused("adapt", place, picture_folder, *on)
    assert "images of this run have several labels" in refused("predict", run, place / "images", "--coverage", 0.9)
    assert "images of this run have several labels" in refused("suggest", run, place / "images")
    assert "thresholds for the labels that it has learned" in refused("evaluate", run, picture_folder, "--rebind")
    assert "does not know the label 'cat'" in refused("evaluate", run, picture_folder, "--split", "all")


def test_a_bench_of_several_labels(place, tiny_folders, tmp_path):
    content = {
        "backbones": [str(tiny_folders["clip"])],
        "data": {"scenes": {"path": str(place), "domain": "natural", "multi_label": True}},
        "shots": 4,
        "seeds": [1],
        "metric": "mean_average_precision",
        "methods": ["zero-shot", "kernel-ridge"],
        "suites": [{"protocol": "few-shot", "data": "scenes"}],
    }
    spec = write_spec(tmp_path / "spec.yaml", content)
    done = acclimate("bench", spec, "--out", tmp_path / "out", "--device", "cpu", "--no-cache")
    assert done.code == 0, done.err
    assert "mAP" in done.out
    scores = {(one.method, one.metric): one.value for one in read_scores(tmp_path / "out/results.csv")}
    assert scores["kernel-ridge", "mean_average_precision"] > scores["zero-shot", "mean_average_precision"]
    assert {metric for _, metric in scores} >= set(FIGURES)
    write_spec(spec, {**content, "data": {"scenes": {"path": str(place), "multi_label": "perhaps"}}})
    done = acclimate("bench", spec, "--out", tmp_path / "other")
    assert "data.scenes.multi_label: give true or false, not 'perhaps'" in done.err
    write_spec(spec, {**content, "methods": ["zero-shot", "coop"]})
    assert "coop gives each image one" in acclimate("bench", spec, "--out", tmp_path / "other").err
