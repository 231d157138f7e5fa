"""Which files are meant: a shard, a pattern of shards, or a folder that holds shards and no images."""

from __future__ import annotations

import glob
import os
import re
from itertools import islice
from pathlib import Path

from acclimate.data.held.parquet import holds_images
from acclimate.data.ordering import some
from acclimate.data.rows import split_of
from acclimate.data.walking import is_passed_over, walk
from acclimate.errors import DataError

TAR, PARQUET = ".tar", ".parquet"

FOLDERS = frozenset(("data", "default", "shards"))
"""Names of folders, in lower case, in which shards are looked for, beside those of splits."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST = 1_000_000  # names that braces may stand for


def find_shards(source: str | os.PathLike[str]) -> list[Path]:
    """Return the files with images that a path, a pattern with `*` or braces, or a folder means; none for others.

    Raises:
        DataError: a name that braces stand for is no file, or there are shards of both kinds.
    """
    path = Path(os.path.expanduser(source))
    if os.path.isdir(path):
        found = _below(path)
        found = [] if found and any(entry.kind == "image" for entry in walk(path)) else found
    elif os.path.exists(path):
        found = [path]
    else:
        found = _matching(str(path))
    found = [file for file in found if _is_shard(file)]
    if len({file.suffix.lower() for file in found}) > 1:
        raise DataError(f"{source}: both {TAR} and {PARQUET} files hold images; name those of one kind")
    return found


def _is_shard(file: Path) -> bool:
    suffix = file.suffix.lower()
    return suffix == TAR or (suffix == PARQUET and holds_images(file))


def _below(folder: Path) -> list[Path]:
    """Return the shards of a folder, and those in its folders that are called as splits, or `data`."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # whoever walks through it says what is wrong
        return []
    found = []
    for entry in entries:
        if is_passed_over(entry.name):
            continue
        if entry.is_dir():
            found += _below(Path(entry.path)) if entry.name.lower() in FOLDERS or split_of(entry.name) else []
        elif entry.name.lower().endswith((TAR, PARQUET)) and entry.is_file():
            found.append(Path(entry.path))
    return found


def _matching(pattern: str) -> list[Path]:
    """Return the files that a pattern of shards stands for; none for what is no such pattern."""
    if not pattern.lower().endswith((TAR, PARQUET)) or not (_BRACES.search(pattern) or glob.has_magic(pattern)):
        return []
    found: list[Path] = []
    for name in expand(pattern):
        matches = [name] if os.path.isfile(name) else glob.glob(name) if glob.has_magic(name) else []
        if not matches:
            raise DataError(f"{name}: no such file, and {pattern} stands for it; correct the pattern")
        found += map(Path, sorted(matches))
    return list(dict.fromkeys(found))


def expand(pattern: str) -> list[str]:
    """Return the names that braces stand for, as a shell does it.

    Raises:
        DataError: there are far too many.

    >>> expand("a-{08..10}.tar"), expand("{train-{0,1},test}.tar")
    (['a-08.tar', 'a-09.tar', 'a-10.tar'], ['train-0.tar', 'test.tar', 'train-1.tar'])
    """
    names, done = [pattern], False
    while not done:
        longer = list(dict.fromkeys(new for name in names for new in _expanded(name)))
        names, done = longer, longer == names
        if len(names) > _MOST:
            raise DataError(f"{pattern}: its braces stand for more than {_MOST:,} names; name fewer")
    return names


def _expanded(name: str) -> list[str]:
    """Return a name with each choice of its first innermost braces that hold a range or a comma, or as it is."""
    for found in _BRACES.finditer(name):
        choices = _choices(found[1])
        if choices:
            return [name[: found.start()] + choice + name[found.end() :] for choice in choices]
    return [name]


def _choices(inside: str) -> list[str]:
    """Return what the inside of a pair of braces stands for; nothing without a comma or a range."""
    ends = _RANGE.fullmatch(inside)
    if ends is None:
        return inside.split(",") if "," in inside else []
    first, last = int(ends[1]), int(ends[2])
    width = max(map(len, ends.groups())) if any(end.startswith("0") and len(end) > 1 for end in ends.groups()) else 0
    step = 1 if last >= first else -1
    numbers = islice(range(first, last + step, step), _MOST + 1)
    return [f"{number:0{width}d}" for number in numbers]


def splits_of(files: list[Path]) -> list[str]:
    """Return the split that the name of each file, or of its folder, means; "" for all where it is the same for all.

    Raises:
        DataError: some names mean one, and others none.
    """
    words = [_split_in(file) for file in files]
    if len(set(words)) < 2:
        return [""] * len(files)
    if "" in words:
        named = next(word for word in words if word)
        nameless = [file.name for file, word in zip(files, words, strict=True) if not word]
        raise DataError(
            f"{some(nameless)}: this name means no split, and those beside it do ({named}); name the files to read"
        )
    return words


def _split_in(file: Path) -> str:
    """Return the split that one of the words of a file's name means, or else the name of its folder."""
    words = [*re.split(r"[^a-z]+", file.stem.lower()), file.parent.name]
    return next((split for word in words if word and (split := split_of(word))), "")
