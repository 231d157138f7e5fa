"""What stays here of a run that is sent: the paths of this machine, and the names of images."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from acclimate.data.frozen import assignment_hash, joined_sets
from acclimate.errors import RunError
from acclimate.runs.places import PLACES

_PATH = re.compile(r"(?<![\w.:/~\\-])(?:~|file:/|[A-Za-z]:)?(?:[/\\][^\s/\\'\",;:()<>|]+){2,}[/\\]?")
"""An absolute path of two parts or more inside a text; no address, whose slashes follow a colon or a name."""


def without_paths(content: Any, kept: Collection[str] = ()) -> Any:
    """Return JSON content in which paths of this machine are names: the last part of each is left.

    Args:
        content: what a file of a run holds; keys stay as they are.
        kept: texts that are no paths whatever they look like, such as class names.
    """
    if isinstance(content, Mapping):
        return {key: without_paths(value, kept) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_paths(value, kept) for value in content]
    return content if not isinstance(content, str) or content in kept else _without_path(content)


def _without_path(text: str) -> str:
    if "/" not in text and "\\" not in text:
        return text
    whole = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith(("~/", "../"))
    if (whole and not re.search(r"\s[/\\]", text) and len(Path(text).parts) > 2) or _exists(text):
        return last_part(text)
    return _PATH.sub(lambda found: last_part(found[0]), text)


def _exists(text: str) -> bool:
    try:
        return os.path.lexists(text)
    except ValueError:
        return False


def last_part(path: str) -> str:
    """Return the last part of a path of any system.

    >>> last_part("/home/someone/models/clip/"), last_part("C:\\\\models\\\\clip")
    ('clip', 'clip')
    """
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def shared_record(record: Mapping[str, Any], kept: Collection[str]) -> dict[str, Any]:
    """Return the record of a run without what only this machine knows: places, and names of images.

    Args:
        record: what `record.json` holds.
        kept: see `without_paths`.
    """
    told = {name: value for name, value in record.items() if name not in (PLACES, "reading")}
    if isinstance(told.get("start"), Mapping):
        told["start"] = {name: value for name, value in told["start"].items() if name != "run"}
    if isinstance(told.get("data"), Mapping):
        told["data"] = {name: value for name, value in told["data"].items() if name != "skipped"}
    shared: dict[str, Any] = without_paths(told, kept)
    return shared


def shared_splits(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the splits of a run with the SHA-256 of each image in place of its name, and a number for its group.

    Images that were not drawn are left out. None: the splits, of an earlier release, do not know their images by bytes.
    """
    if not all(row.get("sha256") for rows in document["splits"].values() for row in rows):
        return None
    groups: dict[str, str] = {}
    sets = joined_sets(document)

    def shared(row: Mapping[str, str]) -> dict[str, str]:
        lead = next((f"{name}/" for name in sets if row["key"].startswith(f"{name}/")), "")
        group = groups.setdefault(row["group"], f"{lead}{len(groups)}")
        return {**row, "key": lead + row["sha256"], "group": group}

    table = {name: [shared(row) for row in rows] for name, rows in document["splits"].items()}
    whole = {name: value for name, value in document.items() if not name.startswith("undrawn")}
    return whole | {"splits": table, "hash": assignment_hash(table)}


def markers(run: Path, record: Mapping[str, Any]) -> list[str]:
    """Return texts that are of this machine alone: the home folder, the working one, those of the run and its encoders.

    Args:
        run: its folder.
        record: as it is here.
    """
    places = record.get(PLACES)
    known = [place.get("absolute") for place in places.values()] if isinstance(places, Mapping) else []
    folders = [Path.home(), Path.cwd(), Path(os.path.abspath(run)), run.resolve(), run.resolve().parent]
    found = {str(folder) for folder in [*folders, *known] if folder}
    return sorted(one for one in found if len(Path(one).parts) > 1)


def check_private(name: str, content: bytes, own: Collection[str]) -> None:
    """Refuse to send a file in which a folder of this machine is named.

    Raises:
        RunError: so it is.
    """
    for marker in own:
        if re.search(rb"(?<![\w.~-])" + re.escape(os.fsencode(marker)) + rb"(?![\w-])", content):
            raise RunError(
                f"{name} would name the folder {marker} of this machine; nothing is sent: take it out of the file"
            )
