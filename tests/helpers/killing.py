"""`kill -9` at many moments: a training that is killed and started again, beside an unbroken one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.command import run_code

# Imports and loads once, then runs each attempt in a forked child, so that many kills cost little.
DRIVER = """
import json, os, signal, sys, time
from pathlib import Path

places, unbroken, killed, inputs = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
{prepare}

def attempt(out):
    child = os.fork()
    if child == 0:
        try:
            train(out)
            code = 0
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            code = 1
        os._exit(code)
    return child

def lines(out):  # of its own log and those of the runs that come first
    logs = list(Path(out).rglob("log.jsonl"))
    return sum(log.read_bytes().count(b"\\n") for log in logs) if logs else -1

def result(out):
    assert os.waitpid(attempt(out), 0)[1] == 0, out

result(unbroken)
kills = []
for place in places:
    child = attempt(killed)
    while lines(killed) < place and os.waitpid(child, os.WNOHANG)[0] == 0:
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    kills.append([place, lines(killed), status == signal.SIGKILL])
result(killed)
print(json.dumps(kills))
"""


def kill_often(prepare, inputs, places, unbroken, killed):
    """Train into two folders in a process of its own, into the second with a kill at each place.

    Args:
        prepare: code that loads `inputs`, texts, and defines `train(out)`.
        inputs: what it gets.
        places: numbers of lines in the logs of the run and its prerequisites after which to kill.
        unbroken, killed: the folders.

    Returns:
        For each kill its place, the lines of the logs then, and whether the process died of it.
    """
    return json.loads(run_code(DRIVER.replace("{prepare}", prepare), json.dumps(places), unbroken, killed, *inputs))


# Python tells a hook of every file that is about to be moved into place or removed; there the child dies.
AT_FILES = """
import json, os, signal, sys
from pathlib import Path

names, place, inputs = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
{prepare}

def die_at(name):
    def hook(event, args):
        moved = event == "os.rename" and os.path.basename(args[1]) == name
        if moved or (event == "os.remove" and "remove " + os.path.basename(args[0]) == name):
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def attempt(out, name=None):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if name:
                die_at(name)
            train(out)
            code = 0
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
        os._exit(code)
    return os.waitpid(child, 0)[1]

assert attempt(place / "unbroken") == 0
for name in names:
    assert attempt(place / name, name) == signal.SIGKILL, name
    assert attempt(place / name) == 0, name
"""


def kill_at_files(prepare: str, inputs: Sequence[object], names: Sequence[str], place: Path) -> list[str]:
    """Train into `place/unbroken`, and into `place/NAME` with a kill just before that file is there, and once more.

    Args:
        prepare, inputs: as in `kill_often`.
        names: files; "remove NAME" kills just before a file is removed.
        place: where the folders are made.

    Returns:
        The files that are not those of the unbroken folder, as NAME/FILE; costs in records do not count.
    """
    run_code(AT_FILES.replace("{prepare}", prepare), json.dumps(names), place, *inputs)
    unbroken = _contents(place / "unbroken")
    killed = {name: _contents(place / name) for name in names}
    return [
        f"{name}/{file}"
        for name, contents in killed.items()
        for file in sorted(unbroken.keys() | contents.keys())
        if file not in unbroken or file not in contents or unbroken[file] != contents[file]
    ]


def _contents(place: Path) -> dict[str, object]:
    """What the files below a folder hold, by their names in it."""
    files = {str(path.relative_to(place)): path for path in place.rglob("*") if path.is_file()}
    return {name: _content(path) for name, path in files.items()}


def _content(path: Path) -> object:
    return {**json.loads(path.read_text()), "cost": None} if path.name == "record.json" else path.read_bytes()
