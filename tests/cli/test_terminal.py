"""Names of files and classes are shown, whatever is in them; they never steer the terminal."""

from __future__ import annotations

import io
import json
import sys

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from acclimate.cli.terminal import SafeConsole, escape, json_text
from tests.helpers.command import acclimate
from tests.helpers.pictures import make_pictures

HOSTILE = "cat\x1b]0;title\x07\x9b31m\u202e\r\nerror: forged"
SHOWN = r"cat\x1b]0;title\x07\x9b31m\u202e\r\nerror: forged"


def steers(text):
    return {letter for letter in text if letter != "\n" and not letter.isprintable()}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_through_the_command_line(tmp_path):
    data = make_pictures(tmp_path / f"set{HOSTILE}", (HOSTILE, "dog"), 5)
    (data / HOSTILE / f"{HOSTILE}.png").write_bytes(b"x")
    (data / f"empty{HOSTILE}").mkdir()
    done = acclimate("data", "check", data)
    assert done.code == 1
    assert SHOWN in done.out  # a class with few images, a file that cannot be read
    assert f"no class 'empty{SHOWN}' is read" in done.out.replace("\\\\", "\\")
    assert not steers(done.out + done.err)
    assert not [line for line in (done.out + done.err).splitlines() if line.startswith("error: forged")]
    done = acclimate("data", "check", data, "--json")
    assert HOSTILE in done.json["classes"]
    assert not steers(done.out)
    done = acclimate("data", "check", tmp_path / f"none{HOSTILE}")
    assert done.code == 2
    assert "no such file or folder" in done.error
    assert not steers(done.err)
    done = acclimate("data", "check", data, f"--{HOSTILE}")
    assert done.code == 2
    assert not steers(done.err)


def drawn(*things, **options):
    console = SafeConsole(file=io.StringIO(), force_terminal=True, color_system=None, width=80, **options)
    for thing in things:
        console.print(thing)
    return console.file.getvalue()


def test_whatever_is_drawn():
    steering = HOSTILE.replace("\r\n", "")
    table = Table(steering, title=steering)
    table.add_row(steering)
    table.add_row(Text(steering))
    assert not steers(drawn(steering, Text(steering), table, f"[bold]{steering}[/]"))
    progress = Progress(TextColumn("{task.description}"))
    progress.add_task(steering)
    assert not steers(drawn(progress.get_renderable()))


def test_a_hostile_name_has_the_width_of_what_is_shown():
    table = Table("name", box=None)
    table.add_row(escape("\x1b[1m" * 3))
    assert drawn(table).splitlines()[1].strip() == r"\x1b[1m" * 3


def test_usual_text_stays():
    usual = "Größe\t日本語 🙂 [1]\nनमस्ते ‍"
    assert drawn(escape("Größe 日本語 🙂 [bold]")).rstrip() == "Größe 日本語 🙂 [bold]"
    assert json.loads(json_text({usual: [HOSTILE, 1.5]}, indent=2)) == {usual: [HOSTILE, 1.5]}
    assert "日本語" in json_text(usual)
    assert "\n  " in json_text({"a": 1}, indent=2)
