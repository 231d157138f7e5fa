"""`kill -9` at any moment, and the same command again: the same bytes as an unbroken run."""

from __future__ import annotations

import json
import os

import pytest

import acclimate
from tests.helpers import command
from tests.helpers.killing import kill_at_files, kill_often
from tests.helpers.pictures import make_split_pictures
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


FINE_TUNE = """
import sklearn.linear_model
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_data(inputs[0]), backbones.load_backbone(inputs[1])
encoder = backbones.load_domain_encoder(inputs[2])

def train(out):
    acclimate.adapt(data, "fine-tune", backbone, shots=4, out=out, domain="natural", domain_encoder=encoder,
                    settings={"epochs": 8, "batch_size": 4}, device="cpu", checkpoint_seconds=0.0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_a_whole_encoder_that_is_learned_is_killed_many_times(tmp_path, picture_folder, tiny_folders, domain_folder):
    inputs = (picture_folder, tiny_folders["clip"], domain_folder)
    killed = kill_often(FINE_TUNE, inputs, [0, 1, 3, 3, 6], tmp_path / "unbroken", tmp_path / "killed")
    assert len({row[1] for row in killed if row[2]}) >= 3
    same(tmp_path / "unbroken", tmp_path / "killed")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
def test_the_command_is_killed_and_given_again(tmp_path, picture_folder, tiny_folders):
    settings = {"epochs": 60, "batch_size": 2, "context_tokens": 4}
    words = ["adapt", picture_folder, "--method", "coop", "--backbone", tiny_folders["clip"]]
    words += ["--shots", "4", "--domain", "natural"]
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


AAPE = """
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_data(inputs[0]), backbones.load_backbone(inputs[1])
sentences = {name: [f"{name} {what}" for what in ("by day", "in the rain", "far away")] for name in data.class_names}

def train(out):
    acclimate.adapt(data, "aape", backbone, shots=4, out=out, domain="natural", settings={"epochs": 2}, device="cpu",
                    reference_prompts=sentences, checkpoint_seconds=0.0)
"""
RETRIEVAL = """
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_captions(inputs[0]), backbones.load_backbone(inputs[1])

def train(out):
    acclimate.adapt(data, "aape", backbone, out=out, settings={"epochs": 2, "batch_size": 6}, device="cpu",
                    checkpoint_seconds=0.0)
"""
WARM_START = """
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_data(inputs[0]), backbones.load_backbone(inputs[1])

def train(out):
    settings = {"epochs": 2, "context_tokens": 4, "batch_size": 8}
    acclimate.adapt(data, "coop", backbone, shots=4, out=out, domain="natural", settings=settings, device="cpu",
                    start=inputs[2], checkpoint_seconds=0.0)
"""
PREREQUISITES = """
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_data(inputs[0], layout="domain/class"), backbones.load_backbone(inputs[1])

def train(out):
    settings = {"label_epochs": 2, "epochs": 2, "warmup_epochs": 0}
    acclimate.adapt(data, "spg", backbone, shots=2, out=out, domain="natural", settings=settings, device="cpu",
                    checkpoint_seconds=0.0)
"""
WRITTEN = ["adapter.safetensors", "adapter.json", "record.json", "remove checkpoint.safetensors"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "fixtures", "names"),
    [
        (AAPE, ["picture_folder"], ["reading.png", *WRITTEN]),
        (RETRIEVAL, ["caption_folder"], WRITTEN),
        (WARM_START, ["picture_folder", "run"], WRITTEN),
        (PREREQUISITES, ["scene_folder"], WRITTEN),  # in the folder of the first prompt label
    ],
    ids=["aape", "retrieval", "warm start", "prerequisites"],
)
def test_killed_at_each_file_that_is_written_in_the_end(request, tmp_path, tiny_folders, prepare, fixtures, names):
    data, *rest = map(request.getfixturevalue, fixtures)
    inputs = (data, tiny_folders["clip"], *(run.folder for run in rest))
    assert kill_at_files(prepare, inputs, names, tmp_path) == []
    expected = {name for name in names if " " not in name}
    assert expected <= {path.name for path in (tmp_path / "unbroken").iterdir()}


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory):
    """Pictures of three classes in two domains, in folders domain/class."""
    place = tmp_path_factory.mktemp("scenes") / "scenes"
    return make_split_pictures(place, splits=dict.fromkeys(("day", "night"), 8))
