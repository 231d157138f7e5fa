"""Manifests: tables (CSV, TSV, JSON lines, Parquet) with one row per image, `path,label[,domain,group,split]`."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from acclimate.counting import counted
from acclimate.data.ordering import some
from acclimate.data.rows import Gaps, Remark, Rows, split_of, tidy
from acclimate.data.tables import SUFFIXES, Record, read_table
from acclimate.data.unread import in_words, kind_of_file, kind_of_name
from acclimate.errors import DataError, brief
from acclimate.options import closest

log = logging.getLogger("acclimate.data")

REQUIRED, OPTIONAL = ("path", "label"), ("domain", "group", "split")


def find_manifest(folder: Path) -> Path | None:
    """Return the manifest `labels.*` of a folder, or None."""
    found = [folder / f"labels{suffix}" for suffix in SUFFIXES if (folder / f"labels{suffix}").is_file()]
    if len(found) > 1:
        log.info("%s: reading %s and leaving %s aside", folder, found[0].name, some([file.name for file in found[1:]]))
    return found[0] if found else None


def read_manifest(file: Path, images_root: Path | None = None) -> Rows:
    """Read a manifest and check every row, without opening an image.

    Args:
        file: the manifest.
        images_root: the folder to which relative paths belong; by default the folder of the manifest.

    Raises:
        DataError: columns, labels, splits or images that are missing or contradict one another; it names the row.
    """
    columns, records = read_table(file, (*REQUIRED, *OPTIONAL))
    rows = collect(file.name, table_name(file), columns, records, images_root or file.parent)
    rows.settle_numbers()
    return rows


def table_name(file: Path) -> str:
    """Return what data are called that a table lists: its own name, or that of its folder where it has a usual one."""
    usual = ("labels", "metadata", "manifest", "captions", "questions", "vqa", "instructions")
    return file.resolve().parent.name if file.stem.lower() in usual else file.stem


def collect(title: str, name: str, columns: list[str], records: Iterable[Record], root: Path) -> Rows:
    """Check the records of a table and resolve their paths against `root`; `title` names the table in messages."""
    chosen = _columns(title, columns)
    rows = Rows(name)
    seen: dict[str, tuple[int, tuple[str, ...]]] = {}
    missing: list[tuple[int, str]] = []
    repeated: list[str] = []
    gaps = Gaps(title)
    for number, record in records:
        values = {field: tidy(record.get(column) or "") for field, column in chosen.items()}
        for field in REQUIRED:
            if not values[field]:
                raise DataError(f"{title} row {number}: the {field} is empty; fill it in or remove the row")
        domain, group, word = (values.get(field, "") for field in OPTIONAL)
        split = split_meant(title, number, word)
        raw = (record.get(chosen["path"]) or "").strip()
        path = resolve(root, raw)
        if path is None:
            missing.append((number, raw))
            continue
        key = key_of(root, path)
        facts = (values["label"], split, domain, group)
        if key in seen:
            _compare(title, key, seen[key], (number, facts))
            repeated.append(key)
            continue
        seen[key] = (number, facts)
        rows.add(key, path, values["label"], domain=domain, group=group, split=split)
        gaps.note(number, values)
    if missing:
        number, raw = missing[0]
        kind = "is a folder, not an image" if os.path.isdir(root / raw) else "no such image"
        shown = repr(brief(raw, 120))
        text = f"{shown} {kind}" if "folder" in kind else f"{kind} {shown}"
        known = kind_of_file(os.path.join(root, raw))
        text += f", only a {known.one}: {known.step}" if known else ""
        more = more_missing(len(missing) - 1)
        raise DataError(
            f"{title} row {number}: {text} (looked in {root}){more}; correct the paths or give `images_root`"
        )
    if not len(rows):
        raise DataError(f"{title}: no rows; add one row per image with path,label")
    rows.remarks += gaps.remarks()
    unread = [found for path in rows.paths if path and (found := kind_of_name(path))]
    if unread:
        count = counted(len(unread), "row names a file that is", "rows name files that are")
        text = f"{count} not read: {in_words(unread)}"
        rows.remarks.append(Remark("warning", "unread_files", text))
    if repeated:
        what = ("row repeats an image with the same label and is", "rows repeat an image with the same label and are")
        log.warning("%s: %s left out: %s", title, counted(len(repeated), *what), some(repeated))
    return rows


def more_missing(number: int) -> str:
    """Return what a message adds where more rows of a table name no image, nothing where none does."""
    return f"; {counted(number, 'more row has', 'more rows have')} no image either" if number else ""


def _columns(title: str, columns: list[str]) -> dict[str, str]:
    """Match the wanted columns to the found ones, whatever their case."""
    found = {column.strip().lower(): column for column in reversed(columns)}
    for wanted in REQUIRED:
        if wanted not in found:
            alike = {
                "path": ["file_name", "filename", "file", "image", "image_path", "filepath"],
                "label": ["class", "category", "target", "labels", "y"],
            }
            near = next((name for name in alike[wanted] if name in found), None) or closest(wanted, found)
            advice = f"; rename column {found[near]!r} to {wanted!r}" if near else f"; add a column {wanted!r}"
            raise DataError(f"{title}: no column {wanted!r} among {some(columns, 20) or 'no columns'}{advice}")
    return {name: found[name] for name in (*REQUIRED, *OPTIONAL) if name in found}


def split_meant(title: str, number: int, word: str) -> str:
    """Return the split that a cell means, "" where it is empty.

    Raises:
        DataError: it means none.
    """
    split = split_of(word) if word else ""
    if split is None:
        raise DataError(f"{title} row {number}: unknown split {word!r}; say train, val or test, or leave it empty")
    return split


def resolve(root: Path, raw: str) -> str | None:
    """Return the file that a path means, also where it was written on Windows or in another Unicode form."""
    forms = (raw, raw.replace("\\", "/"), unicodedata.normalize("NFC", raw), unicodedata.normalize("NFD", raw))
    for text in dict.fromkeys(forms):
        path = os.path.normpath(os.path.join(root, os.path.expanduser(text)))
        if os.path.isfile(path):
            return path
    return None


def key_of(root: Path, path: str) -> str:
    """Return the name of an image: its path below `root`, the same wherever the data lie, or else the whole path."""
    inside = os.path.relpath(path, root)
    return tidy((path if inside.startswith("..") else inside).replace(os.sep, "/"))


def _compare(title: str, key: str, first: tuple[int, tuple[str, ...]], second: tuple[int, tuple[str, ...]]) -> None:
    """Refuse an image that is listed twice with labels or splits that differ."""
    (row, facts), (again, others) = first, second
    for position, what in enumerate(("label", "split")):
        if facts[position] != others[position]:
            raise DataError(
                f"{title} row {again}: {key!r} has {what} {others[position]!r}, but {facts[position]!r} in row "
                f"{row}; keep one of the two rows"
            )
