"""What every kind of source is read into before it becomes `ImageData`, and the words that sources use for splits."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from acclimate.counting import counted
from acclimate.data.ordering import some
from acclimate.data.tables import whole

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout", "testset", "test_set"), "test"),
}
"""Names of folders and values of a `split` column, in lower case, and the split they mean."""

NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?")


MISSING_WORDS = frozenset(("nan", "none", "null", "na", "n/a", "<na>", "#n/a", "nat", "nil", "-nan"))
"""What programs write where a value is missing, in lower case."""


def split_of(word: str) -> str | None:
    """Return the split that a folder name or value means ("train", "val", "test"), or None."""
    return SPLIT_WORDS.get(word.strip().lower())


def tidy(text: str) -> str:
    """Return a name without surrounding space and in Unicode form NFC, the same from every file system."""
    return unicodedata.normalize("NFC", text.strip())


def spelled_differently(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the names that differ in case or punctuation only, those that are alike together."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[_letters(name)].append(name)
    return [tuple(found) for found in alike.values() if len(found) > 1]


def spelled(number: int, *what: str) -> str:
    """Return that so many names are spelled in several ways; `what` they name as in `counted`."""
    ways = "is spelled in several ways and stays apart" if number == 1 else "are spelled in several ways and stay apart"
    return f"{counted(number, *what)} {ways}"


class Gaps:
    """Words that stand for a missing value in many programs, found where a class, domain or group is named.

    They are kept, since a class may be called "none"; but a group "nan" would hold together what nobody has grouped.

    Args:
        title: of the table or the split whose rows are counted, for messages.
    """

    FIELDS = ("label", "domain", "group")

    def __init__(self, title: str) -> None:
        self.title = title
        self.found: dict[tuple[str, str], list[int]] = defaultdict(list)

    def note(self, row: int, values: Mapping[str, str]) -> None:
        """Note the row if one of its values is such a word."""
        for name in self.FIELDS:
            word = values.get(name, "")
            if word.lower() in MISSING_WORDS:
                self.found[name, word].append(row)

    def remarks(self) -> list[Remark]:
        """Return which words stand in which rows."""
        return [self._remark(*found, rows) for found, rows in self.found.items()]

    def _remark(self, name: str, word: str, rows: list[int]) -> Remark:
        advice = "remove the rows" if name == "label" else "leave the cells empty"
        text = (
            f"in {self.title} the {name} of {counted(len(rows), 'row')} is the word {word!r}, and is kept (row "
            f"{some([str(row) for row in rows])}); if it means that there is none, {advice}"
        )
        return Remark("warning", "missing_word", text, (word,))


def _letters(name: str) -> str:
    """Return the letters and digits of a name, whatever their case and form; a number, such as -1 or 1.0, as it is."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    if NUMBER.fullmatch(folded.strip()):
        return folded
    return "".join(letter for letter in folded if letter.isalnum()) or name


IN_CHECK = {"in_check": True}
"""Marks messages of the log that `check_data` reports as well, so that a check does not say them twice."""


@dataclass(frozen=True)
class Remark:
    """Something about a source that its user should know, noticed while it was read.

    Attributes:
        level: "error" for what makes training on it wrong, "warning", or "info".
        kind: a short, stable name, such as "lost_class".
        text: what it is and what to do, in one line, without the name of the source.
        names: files, folders or classes that it is about.
    """

    level: Literal["error", "warning", "info"]
    kind: str
    text: str
    names: tuple[str, ...] = ()


@dataclass
class Rows:
    """The columns of a source, all of the same length, and what was noticed while reading it.

    `classes` gives the labels an order of their own; they are sorted where it is empty. `remarks` are logged when the
    rows become data.
    """

    name: str
    keys: list[str] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    remarks: list[Remark] = field(default_factory=list)

    def add(
        self, key: str, path: str | Path | None, label: str, *, domain: str = "", group: str = "", split: str = ""
    ) -> None:
        """Append one image."""
        self.keys.append(key)
        self.paths.append(None if path is None else str(path))
        self.labels.append(label)
        self.domains.append(domain)
        self.groups.append(group)
        self.splits.append(split)

    def settle_numbers(self) -> None:
        """Read labels, domains and groups that are numbers in one way, whatever kind of table they come from."""
        self.labels, self.domains, self.groups = map(whole, (self.labels, self.domains, self.groups))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.keys)


def on_spelling(names: Iterable[str], *what: str) -> list[Remark]:
    """Return what to say of names that are spelled in several ways; `what` they name as in `counted`."""
    alike = spelled_differently(sorted(names))
    if not alike:
        return []
    shown = some([" = ".join(found) for found in alike])
    text = f"{spelled(len(alike), *what)}: {shown}; spell alike what is the same"
    return [Remark("warning", "spelling", text, tuple(name for found in alike for name in found))]
