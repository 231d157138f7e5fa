"""Run the notebook of the documentation and keep its outputs in it.

    python tools/notebook.py docs/notebook.ipynb

It runs in an empty folder, without a network, on one device: the CPU.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

SECONDS = 300  # that a cell may take


def run(path: Path, folder: Path, client: type[NotebookClient] = NotebookClient) -> Any:
    """Return a notebook with the outputs that its cells give in a folder.

    Args:
        path: of the notebook, which stays as it is.
        folder: where its cells work.
        client: what runs it.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    quiet = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # tqdm's, which is not used here
    alone = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "ACCLIMATE_CACHE": str(folder / "cache")}
    running = client(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    return running.execute(env=os.environ | alone | quiet)


def main() -> None:
    """Run it, and write it again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        done = run(given.notebook, Path(folder))
    done.metadata = {"kernelspec": done.metadata["kernelspec"], "language_info": {"name": "python"}}
    nbformat.write(done, given.notebook)


if __name__ == "__main__":
    main()
