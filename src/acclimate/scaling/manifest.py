"""`_manifest.json`: what a folder of predictions holds, and whether it is that of the same command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import acclimate
from acclimate.errors import RunError
from acclimate.files import file_digest, make_folder, read_json, write_json
from acclimate.runs import folder
from acclimate.scaling.parts import Part

MANIFEST = "_manifest.json"  # readers of a folder of Parquet pass over such names
FORMAT = 1
DECISIVE = (folder.ADAPTER, folder.ADAPTER_INFO, folder.CALIBRATION)  # files of a run that decide what it predicts
NEXT = "name a new or empty folder with `out`"


def identity(run: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides the rows of an image: the files of the run, and what was asked of it.

    Raises:
        RunError: there is no such run folder.
    """
    files = {name: file_digest(run / name)[:16] for name in DECISIVE if (run / name).is_file()}
    if folder.ADAPTER_INFO not in files:
        raise RunError(f"{run}: there is no such run; give the folder named by `out` of `acclimate adapt`")
    return {"run": files, "asked": dict(asked)}


def open_output(out: Path, known: Mapping[str, Any]) -> None:
    """Make the folder of predictions, or accept the one that this very command has begun.

    Args:
        out: the folder.
        known: see `identity`.

    Raises:
        RunError: it holds something else, or cannot be written.
    """
    present = make_folder(out)
    if MANIFEST in present:
        told = read_json(out / MANIFEST, NEXT)
        if not isinstance(told, dict) or told.get("identity") != known:
            raise RunError(f"{out} holds predictions of another run, or with other options; {NEXT}")
    elif present:
        raise RunError(f"{out} holds other files (such as {min(present)}); {NEXT}")
    write_manifest(out, known, None)


def is_done(out: Path, part: Part) -> bool:
    """Return whether the rows of a part are there."""
    return (out / part.file).is_file()


def write_manifest(out: Path, known: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None) -> None:
    """Write what the folder holds.

    Args:
        out: the folder.
        known: see `identity`.
        rows: one for each part, with its `file`, `rows` and `unread`; none while some are missing.

    Raises:
        RunError: it cannot be written.
    """
    content = {
        "format": FORMAT,
        "acclimate": acclimate.__version__,
        "identity": dict(known),
        "complete": rows is not None,
    }
    if rows is not None:
        content |= {name: sum(row[name] for row in rows) for name in ("rows", "unread")}
        content["parts"] = list(rows)
    write_json(out / MANIFEST, content)


def describe(out: Path, part: Part) -> dict[str, Any]:
    """Return what the manifest says of a part that is done: its file, its rows, and how many could not be read.

    Raises:
        RunError: the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = out / part.file
    try:
        errors = pq.read_table(file, columns=["error"])["error"]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RunError(f"{file} is damaged ({str(error).splitlines()[0]}); delete it and start again") from None
    unread = pc.sum(pc.greater(pc.utf8_length(pc.fill_null(errors, "")), 0)).as_py() or 0
    return {"file": part.file, "rows": len(errors), "unread": int(unread)}


def drop_others(out: Path, parts: Sequence[Part]) -> int:
    """Remove files of parts that are no longer asked for, as when images were added, and return how many."""
    wanted = {part.file for part in parts}
    others = [file for file in out.glob("part-*.parquet") if file.name not in wanted]
    for file in others:
        file.unlink(missing_ok=True)
    return len(others)
