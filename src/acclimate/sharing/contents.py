"""`Contents`: the files of a run as they are sent, with the card, and without what is private."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from acclimate import arguments
from acclimate.data.frozen import load_splits
from acclimate.errors import ConfigError, RunError
from acclimate.files import read_json
from acclimate.runs import folder
from acclimate.runs.places import PLACES
from acclimate.runs.remote import CARD, FILES, is_remote
from acclimate.sharing.card import make_card
from acclimate.sharing.encoders import OTHERS, Needed, encoder_files, needed_encoders
from acclimate.sharing.private import check_private, markers, shared_record, shared_splits, without_paths

NEXT = "give the folder of a finished run, as `acclimate adapt` writes it"


@dataclass(frozen=True)
class Contents:
    """What is sent.

    Attributes:
        run: the run folder.
        files: the bytes of each file, or where they are, by name; the card is among them.
        encoders: those that the run needs.
        stays: files of the run folder that are not sent.
    """

    run: Path
    files: Mapping[str, bytes | Path]
    encoders: tuple[Needed, ...]
    stays: tuple[str, ...]

    @property
    def card(self) -> str:
        """The README.md."""
        return self.read(CARD).decode()

    @property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file."""
        return {
            name: len(content) if isinstance(content, bytes) else content.stat().st_size
            for name, content in self.files.items()
        }

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        content = self.files[name]
        return content if isinstance(content, bytes) else content.read_bytes()


def gather(
    run: str | os.PathLike[str],
    name: str,
    *,
    with_encoders: bool = False,
    backbone: str | None = None,
    domain_encoder: str | None = None,
) -> Contents:
    """Return what is sent of a run.

    Learned tensors go as they are, JSON without the paths of this machine, `splits.json` with the SHA-256 of images in
    place of their names. Predictions of test images, figures of training images and prerequisites stay here.

    Args:
        run: folder of a finished run.
        name: OWNER/NAME of the repository, for the card.
        with_encoders: send encoders that are folders of this machine, too; else the card says that they are needed.
        backbone, domain_encoder: where these are, as in `load`.

    Raises:
        RunError: it is no finished run, a file of it is damaged, an encoder that is to be sent is not found, or a file
            would tell what is private.
        ConfigError: encoders are named that are not to be sent.
    """
    if is_remote(run):
        raise ConfigError(f"{os.fspath(run)} is on the Hub already; pull it, and push the folder")
    if (backbone or domain_encoder) and not with_encoders:
        raise ConfigError(
            "`backbone` and `domain_encoder` say where encoders are that are sent; add `with_encoders`, or leave them "
            "out"
        )
    path = arguments.path("run", run)
    adapter, record = _read(path)
    own = markers(path, record)
    needed = needed_encoders(adapter, record)
    packed: dict[str, bytes | Path] = {}
    inside = [one.option for one in needed if not one.public and _is_inside(path, record, one.option)]
    wanted = [one.option for one in needed if not one.public and (with_encoders or one.option in inside)]
    if wanted:
        from acclimate.runs import load

        model = load(path, backbone, "cpu", domain_encoder=domain_encoder)  # the right weights, or none
        for option in wanted:
            packed |= encoder_files(model, option)
    needed = tuple(replace(one, sent=one.option in wanted) for one in needed)
    files = _own_files(path, adapter, record, needed) | packed
    files[CARD] = make_card(name, adapter, shared_record(record, _names(adapter)), needed).encode()
    found = Contents(path, dict(sorted(files.items())), needed, _staying(path))
    for one in found.files:
        if not any(one.endswith(f"/{known}") for known in OTHERS):
            check_private(one, found.read(one), own)
    return found


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_dir():
        raise RunError(f"{path}: there is no such run folder; {NEXT}")
    adapter, record = (read_json(path / name, NEXT) for name in (folder.ADAPTER_INFO, folder.RECORD))
    if not (isinstance(adapter, dict) and isinstance(record, dict) and {"backbone", "method"} <= adapter.keys()):
        raise RunError(f"{path} is no run of a method; {NEXT}")
    if not {"method", "metrics", "data", "baselines"} <= record.keys() or not (path / folder.ADAPTER).is_file():
        raise RunError(f"{path} is no finished run; {NEXT}")
    return adapter, record


def _is_inside(path: Path, record: Mapping[str, Any], option: str) -> bool:
    """Return whether an encoder lies in the folder of the run itself, as one does that the run has made."""
    relative = ((record.get(PLACES) or {}).get(option) or {}).get("relative", "..")
    return ".." not in Path(relative).parts and (path / relative).is_dir()


def _names(adapter: Mapping[str, Any]) -> set[str]:
    return {*adapter.get("class_names", ()), *adapter.get("trained_classes", ())}


def _own_files(
    path: Path, adapter: Mapping[str, Any], record: Mapping[str, Any], needed: Collection[Needed]
) -> dict[str, bytes | Path]:
    """Return the files of the run itself, by name."""
    names = _names(adapter)
    called = {one.option: {**adapter[one.option], "id": one.name} for one in needed}
    told = shared_record(record, names)
    told |= {one.option: {**told[one.option], "id": one.name} for one in needed if told.get(one.option)}
    if places := {one.option: {"relative": one.option} for one in needed if one.sent}:
        told[PLACES] = places
    files: dict[str, bytes | Path] = {
        folder.ADAPTER_INFO: _json(without_paths(adapter, names) | called),
        folder.RECORD: _json(told),
    }
    if (path / folder.SPLITS).exists() and (splits := shared_splits(load_splits(path / folder.SPLITS))):
        files[folder.SPLITS] = _json(splits)
    if (path / folder.LOG).exists():
        lines = [without_paths(entry, names) for entry in folder.read_lines(path / folder.LOG)]
        files[folder.LOG] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    whole = (folder.ADAPTER, folder.CALIBRATION, folder.IMAGES)
    return files | {name: path / name for name in whole if (path / name).is_file()}


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "replace")


def _staying(path: Path) -> tuple[str, ...]:
    return tuple(sorted(file.name for file in path.iterdir() if file.name not in FILES and file.name[0] != "."))
