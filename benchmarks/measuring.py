"""What the benchmarks share: memory of one call in a fresh process, and the record that stands beside a figure."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

import acclimate


def peak_in_fresh_process(script: str, *arguments: object) -> float:
    """Run `script --peak ARGUMENTS`, which prints what `added_memory` returns: MiB."""
    command = [sys.executable, script, "--peak", *map(str, arguments)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def added_memory(call: Callable[[], object]) -> float:
    """MiB of resident memory that a call adds at its peak to what this process holds already (Linux)."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building the model
    call()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """An entry of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def write_record(path: Path, command: str, what: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write rows, and what else is known, with the command, the versions and the machine that made them."""
    record = {
        "command": command,
        "what": what,
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, acclimate)}
        | {"python": platform.python_version()},
        "machine": {"processor": platform.machine(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()},
        "rows": rows,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
