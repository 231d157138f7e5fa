"""The folder of a domain encoder: names of its files, and who may write there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acclimate.backbones.mae import CONFIG, PROCESSOR, WEIGHTS
from acclimate.errors import RunError
from acclimate.files import make_folder, read_json, remove_parts

RECORD, LOG, SHEET, CHECKPOINT = "record.json", "log.jsonl", "reconstructions.png", "checkpoint.safetensors"
FILES = (CONFIG, WEIGHTS, PROCESSOR, SHEET, LOG, CHECKPOINT, RECORD)
KIND = "mae"


def open_folder(out: Path, overwrite: bool = False) -> dict[str, Any] | None:
    """Make the folder, or accept one that such a run has begun or finished.

    Args:
        out: the folder.
        overwrite: remove the files of an earlier run first.

    Returns:
        The record of a finished run that is there, or none.

    Raises:
        RunError: when `out` is a file, holds other things, or cannot be made.
    """
    present = make_folder(out)
    record = None
    if RECORD in present:
        record = read_json(out / RECORD, "restore the file, or name a new folder with --out")
        if not isinstance(record, dict) or record.get("pretraining") != KIND:
            raise RunError(f"{out} holds a run of another kind; name a new or empty folder with --out")
    elif present - {*FILES}:
        other = sorted(present - {*FILES})[0]
        raise RunError(f"{out} holds other files (such as {other}); name a new or empty folder with --out")
    for name in FILES:
        remove_parts(out / name)
        if overwrite:
            (out / name).unlink(missing_ok=True)
    return None if overwrite else record
