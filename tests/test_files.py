"""Files that are whole or not there, and what killed processes leave of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from acclimate.files import STALE_SECONDS, part_of, remove_parts, replace_file

WRITER = """
import sys
from pathlib import Path
from acclimate.files import part_of
part = part_of(Path(sys.argv[1]))
part.mkdir() if sys.argv[2] == "folder" else part.write_bytes(b"half")
print(part, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """Starts a process that is in the middle of writing `job.json`, or a folder of that name."""
    processes = []

    def start(kind="file"):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "job.json"), kind]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, tmp_path / process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="asks after a process by a signal")
def test_parts_of_killed_processes_go_and_those_of_live_ones_stay(tmp_path, writer):
    (dead, left), (dead_too, left_folder), (_, written) = writer(), writer("folder"), writer()
    for process in (dead, dead_too):
        process.kill()
        process.wait()
    assert left.exists()
    assert left_folder.is_dir()
    replace_file(tmp_path / "job.json", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([written, tmp_path / "job.json"])
    assert (tmp_path / "job.json").read_bytes() == b"whole"


def test_parts_of_other_machines_go_when_nothing_has_happened_for_long(tmp_path):
    old, young = tmp_path / ".job.json.0badcafe-17.part", tmp_path / ".job.json.0badcafe-18.part"
    before = tmp_path / ".job.json.17.part"  # of a version that did not name the machine
    other, foreign = tmp_path / ".other.json.0badcafe-17.part", tmp_path / ".job.json.swp"
    for path in (old, young, before, other, foreign):
        path.write_text("half")
    for path in (old, before, other, foreign):
        os.utime(path, (time.time() - STALE_SECONDS - 9,) * 2)
    remove_parts(tmp_path / "job.json")
    assert set(tmp_path.iterdir()) == {young, other, foreign}


def test_a_part_of_this_process_stays(tmp_path):
    part = part_of(tmp_path / "job.json")
    part.write_text("half")
    remove_parts(tmp_path / "job.json")
    assert part.exists()
