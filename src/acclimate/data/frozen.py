"""`splits.json`: which images are in which split, with a hash, so that a result can say what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.data.dataset import ImageData
from acclimate.data.ordering import some
from acclimate.documents import load_json, read_text
from acclimate.errors import DataError, RunError
from acclimate.files import replace_file

VERSION = 1
FILE = "splits.json"

_FIELDS = ("key", "label", "domain", "group")


def freeze_splits(
    splits: Mapping[str, ImageData],
    path: str | os.PathLike[str],
    *,
    seed: int,
    shots: int | str,
    source: str | None = None,
    digests: bool = False,
    whole: ImageData | None = None,
) -> dict[str, Any]:
    """Write the images of each split to a JSON file, atomically, and return what was written.

    Args:
        splits: data by the name of the split, such as "train", "val", "test".
        path: the file to write; its folder is made.
        seed: seed of the shots, for the record.
        shots: shots per class, for the record.
        source: name of the data; by default that of the first split.
        digests: keep the sha256 of every image as well, which reads them all; a copy is then known under any name.
        whole: the data that the splits were drawn from; its other images are listed too, as `undrawn`, so that
            `keep_split` knows where they belong.

    The hash is the sha256 of the assignment alone: splits, keys, labels, domains, groups and digests, in sorted order.
    It is the same wherever the data lie. What was not drawn has a hash of its own. `made` says how the split was made,
    if it was.

    Raises:
        RunError: the file cannot be written.
    """
    document = splits_document(splits, seed=seed, shots=shots, source=source, digests=digests, whole=whole)
    write_splits(document, path)
    return document


def splits_document(
    splits: Mapping[str, ImageData],
    *,
    seed: int,
    shots: int | str,
    source: str | None = None,
    digests: bool = False,
    whole: ImageData | None = None,
) -> dict[str, Any]:
    """Return what `freeze_splits` writes, with the same arguments."""
    table = split_table(splits, digests)
    document: dict[str, Any] = {
        "version": VERSION,
        "seed": seed,
        "shots": shots,
        "source": source if source is not None else next((data.name for data in splits.values()), ""),
        "made": next((data.split_made for data in splits.values()), None),
        "splits": table,
        "hash": assignment_hash(table),
    }
    if whole is not None:
        undrawn = split_table(_undrawn(splits, whole), digests)
        document |= {"undrawn": undrawn, "undrawn_hash": assignment_hash(undrawn)}
    return document


def splits_of_set(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a run on one of several data sets, which were learned from together, would have written.

    Args:
        document: what `splits_document` or `load_splits` returned.
        name: of one of `joined_sets(document)`.
    """

    def own(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        start = f"{name}/"
        kept = [row for row in rows if row["key"].startswith(start)]
        return [{**row, **{field: row[field].removeprefix(start) for field in ("key", "group")}} for row in kept]

    drawn = document["splits"]
    table = {"train": own(drawn["train"]), "val": own(drawn.get("val", [])), "test": own(drawn[name])}
    undrawn = {split: own(rows) for split, rows in document.get("undrawn", {}).items()}
    parts = {"splits": table, "hash": assignment_hash(table)}
    parts |= {"undrawn": undrawn, "undrawn_hash": assignment_hash(undrawn)}
    return {**document, "source": name, "made": document["made"]["sets"][name], **parts}


def joined_sets(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the data sets that the run of a document has learned from together; nothing for one."""
    return list((document.get("made") or {}).get("sets", ()))


def write_splits(document: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write what `splits_document` or `load_splits` returned.

    Raises:
        RunError: the file cannot be written.
    """
    text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    with contextlib.suppress(OSError):  # where the folder cannot be made, the writing says so
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    replace_file(Path(path), text.encode("utf-8", "surrogateescape"))


def load_splits(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file written by `freeze_splits` and verify its hash.

    Raises:
        RunError: the file is missing, not such a file, or was edited.
    """
    target = Path(path)
    text = read_text(target, RunError, "name a splits.json")
    document = load_json(text, str(target), RunError, "restore the file or make the run again")
    if not isinstance(document, dict) or not {"version", "splits", "hash"} <= document.keys():
        raise RunError(f"{target}: not a file of splits; name the splits.json of a run")
    if document["version"] != VERSION:
        raise RunError(
            f"{target}: version {document['version']!r} of the format, but this release reads {VERSION}; use the "
            "release that wrote it"
        )
    for part, hash_of in (("splits", "hash"), ("undrawn", "undrawn_hash")):
        if part not in document:
            continue
        try:
            found = assignment_hash(document[part])
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(f"{target}: the splits are damaged; restore the file or make the run again") from error
        if found != document.get(hash_of):
            raise RunError(
                f"{target}: the hash does not fit the splits, so the file was edited; restore it or make the run again"
            )
    return document


def apply_splits(data: ImageData, path: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, ImageData]:
    """Return the images of each frozen split, found in `data` by their keys, in the order of the keys.

    Args:
        data: the data from which the splits were frozen, from wherever it lies now.
        path: the file, or what `load_splits` returned.

    Raises:
        RunError: the file cannot be used.
        DataError: images of the file that `data` lacks or labels otherwise.
    """
    document = path if isinstance(path, Mapping) else load_splits(path)
    title = "the frozen splits" if isinstance(path, Mapping) else os.fspath(path)
    rows = {key: row for row, key in enumerate(data.keys)}
    entries = [entry for split in document["splits"].values() for entry in split]
    missing = [entry["key"] for entry in entries if entry["key"] not in rows]
    if missing:
        raise DataError(
            f"{title}: {len(missing)} of {len(entries)} images are not in {data.name}: {some(missing)}; name the "
            "data of that run"
        )
    labels = data.label_names
    changed = [entry for entry in entries if labels[rows[entry["key"]]] != entry["label"]]
    if changed:
        first = changed[0]
        now = labels[rows[first["key"]]]
        raise DataError(
            f"{title}: {len(changed)} labels changed, first {first['key']!r} from {first['label']!r} to {now!r}; "
            "restore them or make a new run"
        )
    return {name: data.select([rows[entry["key"]] for entry in split]) for name, split in document["splits"].items()}


def assignment_hash(splits: Mapping[str, list[dict[str, str]]]) -> str:
    """Return the sha256 of an assignment in canonical form: compact JSON of sorted splits and sorted rows, in UTF-8."""
    canonical = {
        name: sorted([*(str(entry[field]) for field in _FIELDS), str(entry.get("sha256", ""))] for entry in entries)
        for name, entries in splits.items()
    }
    text = json.dumps(canonical, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def split_table(splits: Mapping[str, ImageData], digests: bool = False) -> dict[str, list[dict[str, str]]]:
    """Return the assignment as `splits.json` holds it: for each split, rows of the fields, and sha256 if asked for."""
    return {name: _entries(data, digests) for name, data in splits.items()}


def _undrawn(splits: Mapping[str, ImageData], whole: ImageData) -> dict[str, ImageData]:
    """Return the images of each split of the data that none of the splits lists."""
    listed = {key for data in splits.values() for key in data.keys}
    rest = whole.select([row for row, key in enumerate(whole.keys) if key not in listed])
    return {name: rest.split(name) for name in sorted(set(rest.splits))}


def _entries(data: ImageData, digests: bool) -> list[dict[str, str]]:
    columns = [data.keys, data.label_names, data.domains, data.groups]
    fields = [*_FIELDS]
    if digests:
        columns.append([data.digest(row) for row in range(len(data))])
        fields.append("sha256")
    return [dict(zip(fields, values, strict=True)) for values in sorted(zip(*columns, strict=True))]
