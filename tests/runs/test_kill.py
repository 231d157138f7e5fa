"""`kill -9` at any moment, and the same command again: the same bytes as an unbroken run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch

import acclimate
from tests.helpers import command

SETTINGS = {"epochs": 20, "batch_size": 4, "context_tokens": 4, "optimizer": "adamw", "select": "best-val"}

# Imports and loads once, then runs each attempt in a forked child, so that many kills cost little.
DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
import sklearn.linear_model
import acclimate
from acclimate import backbones, runs

data, backbone = acclimate.load_data(sys.argv[1]), backbones.load_backbone(sys.argv[2])
settings, places = json.loads(sys.argv[3]), json.loads(sys.argv[4])

def attempt(out):
    child = os.fork()
    if child == 0:
        try:
            acclimate.adapt(data, "kgcoop", backbone, shots=4, out=out, domain="natural", settings=settings,
                            device="cpu", checkpoint_seconds=0.0)
            code = 0
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            code = 1
        os._exit(code)
    return child

def lines(out):
    log = Path(out, "log.jsonl")
    return log.read_bytes().count(b"\\n") if log.exists() else -1

def result(out):
    assert os.waitpid(attempt(out), 0)[1] == 0, out

result(sys.argv[5])  # unbroken
killed = []
for place in places:
    child = attempt(sys.argv[6])
    while lines(sys.argv[6]) < place and os.waitpid(child, os.WNOHANG)[0] == 0:
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    killed.append([place, lines(sys.argv[6]), status == signal.SIGKILL])
result(sys.argv[6])
print(json.dumps(killed))
"""


def same(one, two):
    for name in ("adapter.safetensors", "adapter.json", "log.jsonl", "splits.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    left, right = (json.loads((folder / "record.json").read_text()) for folder in (one, two))
    for name in ("metrics", "baselines", "data", "backbone", "identity"):
        assert left[name] == right[name], name
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_many_times(tmp_path, picture_folder, tiny_folders):
    places = [0, 1, 5, 5, 12, 19]
    inputs, outputs = (picture_folder, tiny_folders["siglip"]), (tmp_path / "unbroken", tmp_path / "killed")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *inputs, *map(json.dumps, (SETTINGS, places)), *outputs],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killed = json.loads(done.stdout)
    assert all(row[2] for row in killed[:-1])
    assert len({row[1] for row in killed}) >= 4  # at really different moments
    same(tmp_path / "unbroken", tmp_path / "killed")


@pytest.fixture
def one_thread():
    """The number of threads may decide the order of a sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_the_command_is_killed_and_given_again(tmp_path, picture_folder, tiny_folders):
    settings = {"epochs": 60, "batch_size": 2, "context_tokens": 4}
    words = ["adapt", picture_folder, "--backbone", tiny_folders["clip"], "--shots", "4", "--domain", "natural"]
    words += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    words += ["--no-cache", "--device", "cpu", "--out", tmp_path / "killed"]
    process = command.start(*words)
    log = tmp_path / "killed/log.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 3):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)
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
