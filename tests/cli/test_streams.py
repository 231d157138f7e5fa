"""Pipes of other encodings, readers that leave, and Ctrl-C at any moment."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from acclimate import cli
from acclimate.cli import app, progress, tables
from acclimate.cli.console import THEME
from tests.helpers.command import finish, start
from tests.helpers.pictures import make_pictures
from tests.helpers.waiting import HANG


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_is_ascii_where_the_output_is_no_unicode(monkeypatch, encoding):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    tables.print_json({"label": "é☃"}, indent=None)
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")
    assert json.loads(text) == {"label": "é☃"}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_names_that_an_encoding_does_not_have(run, tmp_path, encoding, options):
    folder = make_pictures(tmp_path / "☃", per_class=1)
    done = finish(start("predict", run, folder, *options, env={"PYTHONIOENCODING": encoding}))
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    if options:
        assert all("☃" in json.loads(line)["path"] for line in done.out.splitlines())
    else:
        assert "\\u2603" in done.out


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("after", [0.15, 0.4, 0.8, 1.6, 3.0])
def test_an_interrupt_during_the_first_imports(picture_folder, tmp_path, after):
    """From the moment that Python has found the program; before, there is nobody to catch it."""
    code = "import acclimate.cli, sys; sys.stderr.write('ready\\n'); sys.stderr.flush(); acclimate.cli.main()"
    words = ["adapt", str(picture_folder), "--method", "coop", "--set", "epochs=100000", "--no-cache", "-q"]
    words += ["--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stderr.readline() == "ready\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 130, (out, err)
    assert err.startswith("error: interrupted")
    assert err.count("\n") == 1


def test_what_an_interrupted_import_leaves_behind_is_an_interrupt(monkeypatch, capsys):
    """numpy, half imported, asks itself for a name until the stack is full, and says nothing of the interrupt."""

    def stumble():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RecursionError("maximum recursion depth exceeded")

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(app, "main", stumble)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 130
        assert capsys.readouterr().err == "error: interrupted\n"
        signal.signal(signal.SIGINT, signal.default_int_handler)
        monkeypatch.setattr(app, "main", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # of itself it is none
            cli.main()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
def test_a_reader_that_has_gone_before_anything_is_written():
    process = start("methods")
    process.stdout.close()
    process.wait(timeout=HANG)
    assert process.returncode == 141
    assert process.stderr.read() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
def test_errors_that_nobody_reads(tmp_path):
    process = start("adapt", tmp_path / "missing")
    process.stderr.close()
    process.wait(timeout=HANG)
    assert process.returncode == 141
    assert process.stdout.read() == ""


def test_a_line_now_and_then_where_there_is_no_terminal(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    screen = Console(file=io.StringIO(), width=140, theme=THEME)
    with progress.Progress(console=screen) as told:
        told.start("coop", 800)
        for _ in range(800):
            now[0] += 0.125
            told.advance(1, cross_entropy=0.5)
        told.finish()
        told.start("short", 5)
        told.advance(5)
        told.finish()
    lines = screen.file.getvalue().splitlines()
    assert len(lines) == 4  # after 30, 60 and 90 s, and at the end; nothing of what was short
    assert lines[0].startswith("coop: 240 of 800, 30 s, 8.0/s, about 70 s to go, cross entropy 0.500")
    assert lines[-1].startswith("coop: 800 of 800, 100 s")
