"""The run folder: names of its files, and the only writer and reader of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acclimate.data.frozen import FILE
from acclimate.errors import RunError
from acclimate.files import make_folder, read_json, remove_parts, replace_file
from acclimate.training.tracking import HERE

ADAPTER = "adapter.safetensors"
ADAPTER_INFO = "adapter.json"
RECORD = "record.json"
SPLITS = FILE
IMAGES = "images.txt"  # what was learned from beside the splits, see `acclimate.runs.seen`
LOG = "log.jsonl"
CALIBRATION = "calibration.safetensors"  # how far predictions can be trusted
PREDICTIONS = "predictions.parquet"  # what the method said of the test images
CHECKPOINT = "checkpoint.safetensors"
READING = "reading.png"  # of methods that learn from reference prompts
TRACKED = HERE  # folder of what TensorBoard shows
PREREQUISITES = "prerequisites"  # folder of the runs that a run builds on


@dataclass(frozen=True)
class Layout:
    """What lies in the folder of a kind of run.

    Attributes:
        files: what a run writes there; the record and the log are among them.
        beside: what else may lie there.
        kind: what `pretraining` in its record says; none: its record has no such entry.
    """

    files: tuple[str, ...]
    beside: tuple[str, ...] = ()
    kind: str | None = None


ADAPTATION = Layout(
    (ADAPTER, ADAPTER_INFO, RECORD, SPLITS, IMAGES, LOG, CALIBRATION, PREDICTIONS, CHECKPOINT, READING),
    (PREREQUISITES, TRACKED, "job.json", "output.txt", "done"),  # a bench writes the last three
)


def open_folder(out: Path, overwrite: bool = False, layout: Layout = ADAPTATION) -> Path:
    """Make a run folder, or accept the one that is there; what a killed run has left half written is removed.

    Args:
        out: the folder.
        overwrite: remove the files of an earlier run first.
        layout: what may lie there.

    Raises:
        RunError: when `out` is a file, holds other things than such a run, or cannot be made.
    """
    present = make_folder(out)
    if present and not present & {*layout.files, *layout.beside}:
        raise RunError(f"{out} holds other files (such as {sorted(present)[0]}); name a new or empty folder with `out`")
    if RECORD in present:
        record = read_json(out / RECORD, "restore the file, or name a new folder with `out`")
        if not isinstance(record, dict) or record.get("pretraining") != layout.kind:
            raise RunError(f"{out} holds a run of another kind; name a new or empty folder with `out`")
    for name in layout.files:
        remove_parts(out / name)
        if overwrite:
            (out / name).unlink(missing_ok=True)
    return out


def write_lines(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Write entries as one JSON object a line, atomically, unless the file holds them already."""
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    replace_file(path, text.encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read such a file; nothing where there is none.

    Raises:
        RunError: when a line is not JSON.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); restore the file or delete it") from None
