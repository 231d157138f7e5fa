"""What every kind of source is read into before it becomes `ImageData`, and the words that sources use for splits."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation", "holdout", "testset", "test_set"), "test"),
}
"""Names of folders and values of a `split` column, in lower case, and the split they mean."""


def split_of(word: str) -> str | None:
    """Return the split that a folder name or value means ("train", "val", "test"), or None."""
    return SPLIT_WORDS.get(word.strip().lower())


def tidy(text: str) -> str:
    """Return a name without surrounding space and in Unicode form NFC, the same from every file system."""
    return unicodedata.normalize("NFC", text.strip())


@dataclass
class Rows:
    """The columns of a source, all of the same length, and what was noticed while reading it."""

    name: str
    keys: list[str] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    other_files: list[str] = field(default_factory=list)

    def add(
        self, key: str, path: str | Path | None, label: str, *, domain: str = "", group: str = "", split: str = ""
    ) -> None:
        """Append one picture."""
        self.keys.append(key)
        self.paths.append(None if path is None else str(path))
        self.labels.append(label)
        self.domains.append(domain)
        self.groups.append(group)
        self.splits.append(split)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.keys)
