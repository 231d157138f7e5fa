"""Python code in several processes that compute together on the CPU, as `accelerate launch` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.waiting import HANG


def launch(code: str, place: Path, *words: object) -> subprocess.CompletedProcess:
    """Run code with arguments as two processes, each on one thread; the code is written below `place`."""
    script = place / "script.py"
    script.write_text(code)
    how = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"]
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *how, str(script), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=HANG,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
