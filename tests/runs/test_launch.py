"""`accelerate launch` with two processes on the CPU: the losses and the tensors of one."""

from __future__ import annotations

import json

import pytest
import torch

import acclimate
from acclimate.backbones import load_vlm
from acclimate.errors import ConfigError
from acclimate.methods import TrainingFacts, get_method
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.runs.loading import load
from acclimate.training.checkpoint import read_tensors
from acclimate.training.team import Team
from tests.helpers.launching import launch
from tests.helpers.runs import quick
from tests.helpers.tiny_vlms import tiny_llava

VLM = {"rank": 2, "epochs": 2, "lr": 0.01, "dropout": 0.0}
RUNS = {
    "instruct": {**VLM, "batch_size": 5},  # 18 images: shares of 3 and 2, and of 2 and 1
    "vitask": {**VLM, "batch_size": 7, "crt": 0.5, "task_encoder": "?", "task_epochs": 1},
    "coop": {"epochs": 3, "batch_size": 17, "context_tokens": 4, "select": "best-val"},  # a last batch of one image
    "kgcoop": {"epochs": 6, "batch_size": 5, "context_tokens": 4, "optimizer": "adamw"},  # killed under way
}

CODE = """
import json, os, signal, sys, threading, time
from pathlib import Path
import acclimate

data, runs, out = acclimate.load_data(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])

def die(log):
    while not log.exists() or log.read_bytes().count(b"\\n") < 2:
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)

for method, (backbone, settings) in runs.items():
    if method == "kgcoop" and os.environ["RANK"] == "0" and not (out / method).exists():
        threading.Thread(target=die, args=[out / method / "log.jsonl"], daemon=True).start()
    model = acclimate.adapt(data, method, backbone, shots="all", out=out / method, domain="natural", settings=settings,
                            device="cpu", checkpoint_seconds=0.0)
    Path(out, f"{method}-{os.environ['RANK']}.json").write_text(json.dumps(model.record["metrics"]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("launch")


@pytest.fixture(scope="module")
def world(place, tiny_folders, domain_folder):
    """The backbone and the settings of each run."""
    llava, clip = tiny_llava(place / "llava"), tiny_folders["clip"]
    settings = RUNS | {"vitask": {**RUNS["vitask"], "task_encoder": str(domain_folder)}}
    return {name: (str(clip if name.endswith("coop") else llava), own) for name, own in settings.items()}


@pytest.fixture(scope="module")
def launched(place, world, picture_folder):
    """The first launch, which ends with a kill, and the second."""
    out = place / "two"
    out.mkdir()
    words = picture_folder, json.dumps(world), out
    first = launch(CODE, place, *words)
    killed = {path.name for path in (out / "kgcoop").iterdir()}
    return out, first, killed, launch(CODE, place, *words)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_what_one_learns(name, launched, world, picture_folder, place):
    backbone, settings = world[name]
    out, *_, last = launched
    assert last.returncode == 0, last.stderr
    data = acclimate.load_data(picture_folder)
    loaded = load_vlm(backbone) if "llava" in backbone else backbone
    how = {"shots": "all", "checkpoint_seconds": 0.0, "settings": settings}
    one = quick(data, loaded, method=name, out=place / f"one-{name}", **how)
    lines = [
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        for folder in (place / f"one-{name}", out / name)
    ]
    assert len(lines[0]) == len(lines[1])
    for ours, theirs in zip(*lines, strict=True):
        assert ours.pop("stage") == theirs.pop("stage")
        assert theirs == pytest.approx(ours, rel=1e-5, abs=1e-6)
    tensors = [read_tensors(folder / "adapter.safetensors")[0] for folder in (place / f"one-{name}", out / name)]
    assert tensors[0].keys() == tensors[1].keys()
    for key, tensor in tensors[0].items():
        torch.testing.assert_close(tensors[1][key], tensor, rtol=1e-4, atol=1e-5)
    assert {path.name for path in (out / name).iterdir()} == {path.name for path in (place / f"one-{name}").iterdir()}
    told = [json.loads((out / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]
    assert told[0] == told[1] == json.loads(json.dumps(load(out / name).record["metrics"]))
    assert told[0]["accuracy"]["value"] == one.record["metrics"]["accuracy"]["value"]


@pytest.mark.slow
def test_a_killed_launch_goes_on(launched):
    _, first, killed, last = launched
    assert first.returncode != 0
    assert "checkpoint.safetensors" in killed
    assert "record.json" not in killed
    assert last.returncode == 0, last.stderr


def test_batches_that_cannot_be_shared_are_refused(tiny):
    kind = get_method("aape")
    method = kind(tiny, make_config(kind.Config, {"aggregator": "random"}), PromptSet("natural"))
    method.bind(("cat", "dog"))
    facts = TrainingFacts(images=4, shots=2)
    method.prepare(facts)
    Team().check(method.stages(facts))
    with pytest.raises(ConfigError, match=r"^the stage 'aape' learns .* 2 processes cannot share its batches; [^\n]*$"):
        Team(1, 2).check(method.stages(facts))
