"""`acclimate describe`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers.command import acclimate
from tests.helpers.language_servers import Server, free_port, said
from tests.helpers.tiny_language_model import tiny_language_model
from tests.helpers.waiting import wait_until

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def server():
    one = Server(lambda number, content: said(f"A sentence that is {LETTERS[number // 26] + LETTERS[number % 26]}"))
    yield one
    one.close()


def test_from_a_server_to_an_adapter(server, picture_folder, tiny_folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = tmp_path / "words.csv"
    names.write_text("class,words\ncat,large cat\n")
    words = ("describe", picture_folder, "--llm", server.url, "--generations", "2", "--domain", "natural")
    words = (*words, "--layout", "split/class", "--names", names)
    looked = acclimate(*words, "--dry-run")
    assert looked.code == 0, looked.err
    assert "30 answers about 3 classes; to ask: 30" in looked.err
    assert "What does a river look like?" in looked.out
    assert not server.requests
    done = acclimate(*words)
    assert done.code == 0, done.err
    assert len(server.requests) == 30
    assert "30 different sentences, 10 to 10 a class, in animals-prompts.json" in done.out
    command = done.out.strip().splitlines()[-1].split()
    assert command[:2] == ["acclimate", "adapt"]
    told = ["--domain", "natural", "--names", str(names), "--layout", "split/class"]
    assert command[-6:] == told  # without which it could read other classes, in other words
    short = ("--backbone", tiny_folders["clip"], "--shots", "2", "--set", "epochs=1", "--out", "run")
    assert acclimate(*command[1:], *short).code == 0
    record = json.loads((tmp_path / "run/record.json").read_text())
    assert record["reference_prompts"]["sentences"] == {"cat": 10, "dog": 10, "river": 10}
    again = acclimate(*words)
    assert "30 of them kept from before; to ask: 0" in again.err
    assert len(server.requests) == 30


def test_a_local_model(picture_folder, tmp_path):
    model = tiny_language_model(tmp_path / "model")
    words = ("--generations", "1", "--max-tokens", "8", "--domain", "sar", "--out", tmp_path / "prompts.json")
    done = acclimate("describe", picture_folder, "--llm", model, *words)
    assert done.code == 0, done.err
    assert set(json.loads((tmp_path / "prompts.json").read_text())) == {"cat", "dog", "river"}


def test_a_server_that_is_down(picture_folder, tmp_path):
    url = f"http://127.0.0.1:{free_port()}/v1"
    done = acclimate("describe", picture_folder, "--llm", url, "--out", tmp_path / "prompts.json")
    assert done.code == 2
    assert f"{url} cannot be reached (Connection refused); start the server" in " ".join(done.err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_process_loses_nothing(picture_folder, tmp_path):
    def slowly(number, content):
        time.sleep(0.05)
        return said(f"A slow sentence about number {LETTERS[number % 26] * 4}")

    server = Server(slowly)
    out = tmp_path / "prompts.json"
    words = ["describe", str(picture_folder), "--llm", server.url, "--out", str(out), "--parallel", "1", "-q"]
    process = subprocess.Popen([sys.executable, "-m", "acclimate", *words])
    wait_until(lambda: len(server.requests) >= 10, "ten questions", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    asked = len(server.requests)
    assert 10 <= asked < 150
    assert not out.exists()
    assert acclimate(*words).code == 0
    assert len(server.requests) in (150, 151)  # the answer that was under way is asked for again
    assert len(json.loads(out.read_text())) == 3
    server.close()
