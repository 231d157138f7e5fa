"""Published split lists: JSON files that say which images train, validate and test, as authors of papers give them out.

Two forms are known. CoOp and its descendants have one list a data set, with entries `[path, label number, class name]`;
SPG has one list a domain, `a_train_val_split.json` and so on, with entries
`[path, label number, domain number, class name]`. An entry is counted through the whole file, from 1.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from acclimate.data.manifests import collect
from acclimate.data.rows import Rows, split_of, tidy
from acclimate.data.tables import Record
from acclimate.documents import load_json, read_text
from acclimate.errors import DataError, brief

log = logging.getLogger("acclimate.data")

SUFFIX = ".json"
DOMAIN_LIST = "_train_val_split.json"  # behind the name of the domain
COLUMNS = ["path", "label", "domain", "split"]


def find_lists(folder: Path) -> list[Path]:
    """Return the lists of the domains in a folder, sorted; none where there are no such files."""
    return sorted(file for file in folder.glob(f"*{DOMAIN_LIST}") if file.is_file())


def read_lists(files: Sequence[Path], images_root: Path | None = None) -> Rows:
    """Read one list, or the lists of all domains as one data set, and check every entry, without opening an image.

    The classes keep the order of their numbers, since published protocols divide them so.

    Args:
        files: the lists.
        images_root: the folder to which the paths belong; by default the folder of the lists.

    Raises:
        DataError: a file is no such list, an image is missing, or names and numbers of classes contradict one another.
    """
    parent = files[0].resolve().parent
    rows = Rows(files[0].stem if len(files) == 1 else parent.name)
    classes = _Classes()
    homes: dict[str, str] = {}
    for file in files:
        part = collect(file.name, file.stem, COLUMNS, _records(file, classes), images_root or file.parent)
        columns = (part.keys, part.paths, part.labels, part.domains, part.splits)
        for key, path, label, domain, split in zip(*columns, strict=True):
            if homes.setdefault(key, file.name) != file.name:
                raise DataError(f"{file.name}: {key!r} stands in {homes[key]} as well; keep it in one of the two lists")
            rows.add(key, path, label, domain=domain, split=split)
        rows.remarks += part.remarks
    rows.classes = classes.in_order()
    return rows


def _records(file: Path, classes: _Classes) -> Iterator[Record]:
    """Yield the entries of a list under the columns of a manifest."""
    splits = _splits(file)
    if _is_repeated(splits):
        log.info("%s: test lists the images of val again, so they are read as val", file.name)
        del splits["test"]
    number = 0
    for split, entries in splits.items():
        for entry in entries:
            number += 1
            path, label, domain, name = _entry(entry, f"{file.name} row {number}")
            classes.add(name, label, f"{file.name} row {number}")
            domain = file.name.removesuffix(DOMAIN_LIST) if file.name.endswith(DOMAIN_LIST) else domain
            yield number, {"path": path, "label": name, "domain": domain, "split": split}


def _splits(file: Path) -> dict[str, list[Any]]:
    """Return the entries of each split."""
    content = load_json(read_text(file), file.name, next_step="download or write it again")
    if not isinstance(content, dict) or not all(isinstance(entries, list) for entries in content.values()):
        raise DataError(
            f"{file.name}: no split list, which is {{train: [[path, number, class], ...], val: ..., test: ...}}; write "
            "other tables as CSV, JSON lines or Parquet"
        )
    splits: dict[str, list[Any]] = {}
    for word, entries in content.items():
        split = split_of(word)
        if split is None or split in splits:
            shown = brief(repr(word))
            raise DataError(f"{file.name}: unknown or repeated split {shown}; name the lists train, val and test")
        splits[split] = entries
    return splits


def _is_repeated(splits: dict[str, list[Any]]) -> bool:
    """Whether a list of a domain names the validation images as test images too, as SPG does: it tests elsewhere."""
    test = splits.get("test", [])
    return bool(test) and test == splits.get("val") and all(isinstance(row, list) and len(row) == 4 for row in test)


def _entry(entry: Any, place: str) -> tuple[str, int, str, str]:
    """Return path, label number, domain and class name of an entry; the domain is empty where there is none."""
    if isinstance(entry, list) and len(entry) in (3, 4):
        path, label, *domain, name = entry
        if isinstance(path, str) and type(label) is int and isinstance(name, str):
            return path, label, str(domain[0]) if domain else "", name
    raise DataError(f"{place}: {str(entry)[:60]!r} is no entry; write [path, label number, class name]")


class _Classes:
    """Class names and their numbers, each of which belongs to one of the other."""

    def __init__(self) -> None:
        self.numbers: dict[str, tuple[int, str]] = {}
        self.names: dict[int, tuple[str, str]] = {}

    def add(self, name: str, number: int, place: str) -> None:
        """Note a name with its number, and refuse another number for the name or another name for the number."""
        name = tidy(name)
        known, where = self.numbers.setdefault(name, (number, place))
        if known != number:
            raise DataError(
                f"{place}: class {name!r} has number {number}, but {known} in {where}; give two classes two names"
            )
        same, where = self.names.setdefault(number, (name, place))
        if same != name:
            raise DataError(
                f"{place}: number {number} is class {name!r}, but {same!r} in {where}; give two classes two numbers"
            )

    def in_order(self) -> tuple[str, ...]:
        """Return the names in the order of their numbers."""
        return tuple(self.names[number][0] for number in sorted(self.names))
