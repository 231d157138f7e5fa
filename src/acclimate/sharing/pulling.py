"""`pull`: a run from a repository of the Hub into a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from acclimate import arguments
from acclimate.errors import RunError
from acclimate.files import part_of, remove_parts
from acclimate.runs.remote import fetch

USUAL = "runs"


def pull(name: str, out: str | os.PathLike[str] | None = None, *, revision: str | None = None) -> Path:
    """Download a run from the Hugging Face Hub into a folder, whole or not at all, and return the folder.

    Args:
        name: OWNER/NAME.
        out: the folder, which is not there or empty; none: NAME in `runs`.
        revision: branch, tag or commit; none: the main branch.

    Raises:
        RunError: see `acclimate.runs.remote.fetch`; or the folder is not empty or cannot be made.
    """
    target = Path(USUAL, name.rpartition("/")[2]) if out is None else arguments.path("out", out)
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RunError(f"{target} is there already; name a new or empty folder with `out`")
        found, files = fetch(name, revision)
        part = part_of(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_parts(target)
        try:
            for file in files:
                (part / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found / file, part / file)
            if target.exists():
                target.rmdir()
            os.replace(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise RunError(f"cannot write {target}: {error.strerror}; free some space or choose another `out`") from None
    return target
