"""Captions written by a generative model, from a table to a run folder and back."""

from __future__ import annotations

import json

import pytest
import torch

import acclimate
from acclimate.data import load_captions
from acclimate.errors import ConfigError
from acclimate.metrics import evaluate_captions
from acclimate.training.inputs import LESSONS, Given, find_kind
from tests.helpers.command import acclimate as acclimate_command

SETTINGS = {"rank": 2, "epochs": 4, "lr": 0.02, "batch_size": 6}


@pytest.fixture(scope="module")
def run(tmp_path_factory, caption_folder, vlm):
    out = tmp_path_factory.mktemp("captions") / "run"
    how = {"settings": SETTINGS, "device": "cpu", "shots": "all", "out": out}
    return out, acclimate.adapt(caption_folder, "instruct", vlm, **how)


@pytest.mark.slow
def test_the_record(run, caption_folder):
    record = json.loads((run[0] / "record.json").read_text())
    assert record["task"] == "captioning"
    assert record["data"]["captions"] == {"train": 36, "test": 18}
    assert set(record["baselines"]) == {"vlm-zero-shot"}
    assert {"cider_d", "bleu_4", "rouge_l"} < record["metrics"].keys()
    assert record["verdict"]["metric"] == "cider_d"
    log = [json.loads(line) for line in (run[0] / "log.jsonl").read_text().splitlines()]
    assert log[-1]["vanilla"] < log[0]["vanilla"]


@pytest.mark.slow
def test_loaded_it_writes_what_was_measured(run, caption_folder, vlm):
    loaded = acclimate.load(run[0], vlm)
    data = load_captions(caption_folder).test
    rows = loaded.predict(data.paths)
    assert [row.path for row in rows] == data.paths
    own = evaluate_captions([row.caption for row in rows], data.captions, data.groups)
    assert own["cider_d"] == run[1].record["metrics"]["cider_d"]
    assert loaded.evaluate(caption_folder)["rouge_l"] == own["rouge_l"]


@pytest.mark.slow
def test_the_command_line(run, caption_folder, vlm, tmp_path):
    out = str(tmp_path / "run")
    how = ("--method", "vlm-zero-shot", "--backbone", vlm.name, "--out", out)
    told = acclimate_command("adapt", caption_folder, *how).out
    assert "CIDEr-D" in told
    assert f"acclimate predict {out} NEW_IMAGES --out captions.csv" in told
    data = load_captions(caption_folder).test
    acclimate_command("predict", out, *data.paths, "--out", tmp_path / "captions.csv")
    lines = (tmp_path / "captions.csv").read_text().splitlines()
    assert lines[0] == "path,caption,error"
    assert len(lines) == 1 + len(data)


def test_one_caption_of_an_image_is_learned_in_an_epoch(caption_folder, vlm):
    data = load_captions(caption_folder).train
    feed = find_kind(LESSONS).feed(data, Given(vlm, seed=3))
    index = torch.arange(len(data))
    epochs = [feed.batch(index, epoch).lessons.tolist() for epoch in range(8)]
    for drawn in epochs:
        for row, number in enumerate(drawn):
            assert data.lessons[number][1] in data.captions[row]
    assert len({tuple(drawn) for drawn in epochs}) > 1
    assert epochs[2] == feed.batch(index, 2).lessons.tolist()
    assert {drawn[0] for drawn in epochs} == set(data.choices()[0])  # each has its turn


@pytest.mark.slow
def test_who_finds_and_who_writes(caption_folder, tiny, vlm):
    with pytest.raises(ConfigError, match="methods that find captions: aape, zero-shot; methods that write them"):
        acclimate.adapt(caption_folder, "coop", tiny, device="cpu")
    assert acclimate.adapt(caption_folder, "zero-shot", tiny, device="cpu").task.name == "retrieval"
    written = acclimate.adapt(caption_folder, "vlm-zero-shot", vlm, device="cpu")
    assert written.task.name == "captioning"
    other = acclimate.adapt(caption_folder, "vlm-zero-shot", vlm, settings={"instruction": "what?"}, device="cpu")
    assert other.record["identity"] != written.record["identity"]
