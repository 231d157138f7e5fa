"""The command `serve`: its words, and how it begins and ends."""

from __future__ import annotations

import signal
import socket
import sys
import threading

import pytest
import requests

from acclimate.errors import ConfigError
from acclimate.serving import Limits, serve
from acclimate.serving.refusals import refusal_of
from acclimate.serving.server import name_runs, read_token
from tests.helpers.command import acclimate as command
from tests.helpers.command import start
from tests.helpers.serving import png
from tests.helpers.waiting import HANG, wait_until


def test_runs_are_named_by_their_folders_or_as_one_likes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "a=b"):
        (tmp_path / name).mkdir()
    found = name_runs(["one", "other=one", "a=b", "x=a=b", "gone"])
    assert {name: str(path) for name, path in found.items()} == {
        "one": "one", "other": "one", "a=b": "a=b", "x": "a=b", "gone": "gone"
    }  # fmt: skip
    assert list(name_runs(["."])) == [tmp_path.name]
    with pytest.raises(ConfigError, match="two runs are called 'one'"):
        name_runs(["one", "one=two"])
    with pytest.raises(ConfigError, match="'=one' has no name"):
        name_runs(["=one"])
    with pytest.raises(ConfigError, match="no run to serve"):
        name_runs([])


def test_a_token_is_the_first_line_of_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("  s3cret \nmore\n")
    assert read_token(file) == "s3cret"
    for content in ("", "\nlater", "sécret"):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match="the first line is no token"):
            read_token(file)
    with pytest.raises(ConfigError, match="cannot read the token in"):
        read_token(tmp_path / "gone")


def test_a_request_must_fit_into_the_queue():
    with pytest.raises(ConfigError, match="`max_files=9` with `max_queue=8`"):
        Limits(max_files=9, max_queue=8)
    with pytest.raises(ConfigError, match="max_pixels=0 is out of range"):
        Limits(max_pixels=0)


def test_a_fault_of_the_server_tells_nothing_of_it():
    refusal = refusal_of(RuntimeError("/secret/place"))
    assert refusal.status == 500
    assert str(refusal) == "the server failed on this request (RuntimeError); its log says why"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone",), "gone: there is no such run folder"),
        (("RUN", "--max-files", 300), "--max-files 300 with --max-queue 256: the images of a request must fit"),
        (("RUN", "--token-file", "gone.txt"), "cannot read the token in gone.txt"),
        (("RUN", "--host", "no.such.host.invalid"), "cannot listen on no.such.host.invalid, port 8000"),
        (("RUN", "--port", 70000), "--port"),
    ],
)
def test_bad_words_end_in_one_line(run, words, said):
    done = command("serve", *(run if word == "RUN" else word for word in words))
    assert done.code == 2
    assert said in done.error


def test_a_port_that_is_taken_is_named(model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1, port {port}: .*; choose another `port`"):
            serve({"animals": model}, port=port)
    with pytest.raises(ConfigError, match="no run to serve"):
        serve({})


def test_an_address_that_others_reach_asks_for_a_token(model, caplog):
    with pytest.raises(ConfigError, match="cannot listen"):  # an address of nobody here
        serve({"animals": model}, "192.0.2.1", 0)
    assert "whoever reaches 192.0.2.1 may ask this server" in caplog.text


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_without_the_extra_it_is_named(run, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"cannot import '{module}'" in command("serve", run).error
    assert "pip install 'acclimate[serve]'" in command("serve", run).error


@pytest.mark.slow
def test_what_has_begun_is_finished_before_the_end(run):
    """The rest of a request arrives after the signal: it is answered, others are not taken, and the exit code is 0."""
    process = start("serve", f"mine={run}", "--port", 0, "--max-seconds", 600, "--upload-seconds", 600)
    try:
        told = process.stdout.readline()
        assert told.startswith("mine at http://127.0.0.1:")
        url = told.split()[2].removesuffix(";")
        assert requests.get(url + "health", timeout=HANG).json()["runs"] == 1
        go_on, first, answers = threading.Event(), threading.Event(), []

        def body():
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
            first.set()
            assert go_on.wait(HANG)
            yield png() + b"\r\n--x--\r\n"

        def send():
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            answers.append(requests.post(url + "predict", data=body(), headers=headers, timeout=HANG))

        sender = threading.Thread(target=send)
        sender.start()
        assert first.wait(HANG)
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: not takes_connections(url), "end of listening", process)
        go_on.set()
        sender.join(HANG)
        assert answers[0].status_code == 200
        assert answers[0].json()["predictions"][0]["error"] == ""
        assert process.wait(HANG) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def takes_connections(url):
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
