"""`kill -9` at any moment, and the same command again: the same bytes as an unbroken run."""

from __future__ import annotations

import json
import os

import pytest

import acclimate
from tests.helpers import command
from tests.helpers.killing import kill_at_files, kill_often
from tests.helpers.waiting import wait_until

SETTINGS = {"epochs": 20, "batch_size": 4, "context_tokens": 4, "optimizer": "adamw", "select": "best-val"}

PREPARE = """
import sklearn.linear_model
import acclimate
from acclimate import backbones, runs

data, backbone, settings = acclimate.load_data(inputs[0]), backbones.load_backbone(inputs[1]), json.loads(inputs[2])

def train(out):
    acclimate.adapt(data, "kgcoop", backbone, shots=4, out=out, domain="natural", settings=settings, device="cpu",
                    checkpoint_seconds=0.0)
"""


def same(one, two):
    for name in ("adapter.safetensors", "adapter.json", "log.jsonl", "splits.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    left, right = (json.loads((folder / "record.json").read_text()) for folder in (one, two))
    for name in ("metrics", "baselines", "data", "backbone", "identity"):
        assert left[name] == right[name], name
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_killed_many_times(tmp_path, picture_folder, tiny_folders):
    places = [0, 1, 5, 5, 12, 19]
    inputs = (picture_folder, tiny_folders["siglip"], json.dumps(SETTINGS))
    killed = kill_often(PREPARE, inputs, places, tmp_path / "unbroken", tmp_path / "killed")
    assert all(row[2] for row in killed[:-1])
    assert len({row[1] for row in killed}) >= 4  # at really different moments
    same(tmp_path / "unbroken", tmp_path / "killed")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
def test_the_command_is_killed_and_given_again(tmp_path, picture_folder, tiny_folders):
    settings = {"epochs": 60, "batch_size": 2, "context_tokens": 4}
    words = ["adapt", picture_folder, "--backbone", tiny_folders["clip"], "--shots", "4", "--domain", "natural"]
    words += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    words += ["--no-cache", "--device", "cpu", "--out", tmp_path / "killed"]
    process = command.start(*words)
    log = tmp_path / "killed/log.jsonl"
    wait_until(lambda: log.exists() and log.read_text().count("\n") > 3, "fourth epoch", process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "killed/record.json").exists()
    again = command.acclimate(*words)
    assert again.code == 0, again.err
    acclimate.adapt(
        picture_folder,
        "coop",
        tiny_folders["clip"],
        shots=4,
        domain="natural",
        settings=settings,
        device="cpu",
        out=tmp_path / "unbroken",
    )
    same(tmp_path / "unbroken", tmp_path / "killed")


AT_FILES = """
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_data(inputs[0]), backbones.load_backbone(inputs[1])
sentences = {name: [f"{name} {what}" for what in ("by day", "in the rain", "far away")] for name in data.class_names}

def train(out):
    acclimate.adapt(data, "aape", backbone, shots=4, out=out, domain="natural", settings={"epochs": 2}, device="cpu",
                    reference_prompts=sentences, checkpoint_seconds=0.0)
"""
WRITTEN = ["reading.png", "adapter.safetensors", "adapter.json", "record.json", "remove checkpoint.safetensors"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_killed_at_each_file_that_is_written_in_the_end(tmp_path, picture_folder, tiny_folders):
    kill_at_files(AT_FILES, (picture_folder, tiny_folders["clip"]), WRITTEN, tmp_path)
    assert (tmp_path / "unbroken/reading.png").exists()
    for name in WRITTEN:
        same(tmp_path / "unbroken", tmp_path / name)
        left, right = (json.loads((tmp_path / one / "record.json").read_text()) for one in ("unbroken", name))
        assert left["reading"] == right["reading"], name
        assert (tmp_path / name / "reading.png").read_bytes() == (tmp_path / "unbroken/reading.png").read_bytes(), name
