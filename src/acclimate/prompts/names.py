"""Class names, as folders spell them, to words, as a text tower has read them."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from acclimate.errors import DataError, brief
from acclimate.prompts.files import nearest_class, read_entries

# A trailing version mark (".v2", "_v3", "-v1.0"). Years stay: "Audi S5 2012" needs its year.
_VERSION = re.compile(r"[\s._-]+[vV](?:er(?:sion)?)?\.?\d+(?:\.\d+)*$")
# Hyphens that belong to the word: "x-ray", "F-16", "COVID-19". All others join words, as in "class-01".
_KEPT_HYPHEN = re.compile(r"(?<![A-Za-z0-9])([A-Za-z])-(?=[A-Za-z0-9])|(?<![A-Za-z0-9])([A-Z]{3,})-(?=\d)")
_SEPARATORS = re.compile(r"[\s_\-/\\|]+|(?<=[A-Za-z])\.|\.(?=[A-Za-z])")
_CAMEL = re.compile(
    r"(?<=[a-z])(?=[A-Z])"  # bareLand
    r"|(?<=[A-Z])(?=[A-Z][a-z]{2,})"  # XMLFile, but not the plural in MRIs
    r"|(?<=[a-z]{3})(?=\d)"  # Boeing737, but not h2o
    r"|(?<=\d)(?=[A-Z][a-z]{2,})"  # type2Diabetes, but not 3D
)
# Endings that make closed compounds ("ironstone", "swordfish") or that ordinary words end in ("manage", "covered").
_NEVER_LAST_TEXT = (
    "stone fish berry bird fly ball man woman cake worm weed nut bug craft ware work works proof like hog pot let "
    "pox age ages red ring ten tens ant ants art arts ore ores most less late lates out off over per and for the "
    "pliers"
)
_NEVER_LAST = frozenset(_NEVER_LAST_TEXT.split())
# Beginnings of ordinary words ("performs", "notice", "subset", "overhead").
_NEVER_FIRST_TEXT = "per not pre sub out off over for from per and the mid multi cut can post disc rest under"
_NEVER_FIRST = frozenset(_NEVER_FIRST_TEXT.split())
_MAX_PARTS = 4


def class_words(name: str) -> str:
    """Return a class name as words.

    Separators, CamelCase and run-together lower-case words are taken apart, a trailing version mark is dropped, known
    words are set in lower case; codes ("A320321", "n02084071"), acronyms ("MRI") and unknown proper names keep their
    spelling.

    Args:
        name: as a folder or a manifest spells it.

    Returns:
        The words; `name` itself where nothing but separators is left.

    >>> class_words("BareLand"), class_words("bare_land"), class_words("bareland.v2")
    ('bare land', 'bare land', 'bare land')
    >>> class_words("Boeing737"), class_words("PNEUMONIA"), class_words("MRI_T2")
    ('Boeing 737', 'pneumonia', 'MRI T2')
    """
    text = _VERSION.sub("", name.strip()) or name.strip()
    return _to_words(text) or name


def class_words_all(names: Sequence[str]) -> list[str]:
    """Return the words of every class, distinct wherever the names allow it.

    Where two names give the same words ("wafer_v1" and "wafer_v2"), their version marks stay.
    """
    words = [class_words(name) for name in names]
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return [
        (_to_words(name.strip()) or name) if counts[word] > 1 else word for name, word in zip(names, words, strict=True)
    ]


def read_names_file(path: str | Path, class_names: Sequence[str] | None = None) -> dict[str, str]:
    """Read the words for classes that a user has written down.

    Args:
        path: JSON or YAML mapping of class to words, or CSV with the columns `class,words`. In YAML, words such as
            `no`, `001` and `null` stay as they are written.
        class_names: the classes of the data; when given, every class in the file must be one of them.

    Raises:
        DataError: the file is missing or cannot be read so, or names a class that the data do not have.
    """
    words: dict[str, str] = {}
    for where, name, value in read_entries(path, "names file", "words"):
        _add(words, name, value, where)
    if class_names is not None:
        for name in words:
            if name not in class_names:
                raise DataError(f"{path}: no class {brief(name)!r} in the data{nearest_class(name, class_names)}")
    return words


def _add(words: dict[str, str], name: str, value: Any, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"{where}: the words of class {brief(name)!r} are {brief(repr(value))}; write at least one word"
        )
    if name in words:
        raise DataError(f"{where}: class {brief(name)!r} stands there twice; keep one")
    words[name] = value.strip()


def _to_words(text: str) -> str:
    text = text.replace("&", " and ").replace("+", " and ")
    text = _KEPT_HYPHEN.sub(lambda m: (m[1] or m[2]) + "\u2010", text)  # out of reach of the separators
    shouting = not any(c.islower() for c in text)
    words: list[str] = []
    for token in filter(None, _SEPARATORS.split(text)):
        parts = _CAMEL.split(token)
        # Capitals inside "VeryMild" only mark where words begin; in "Boeing737" they belong to the name.
        camel = sum(part.isalpha() for part in parts) > 1
        words += [_one_token(part.lower() if camel and part.istitle() else part, shouting) for part in parts]
    return " ".join(" ".join(words).replace("\u2010", "-").split())


def _one_token(token: str, shouting: bool) -> str:
    core = token.strip(",;:()[]'\"")
    lower = core.lower()
    if not core.isascii() or not core.isalpha():
        return token
    if _known(lower):
        return token if core.isupper() and len(core) == 1 else token.lower()
    if parts := _split(lower):
        return token.lower().replace(lower, " ".join(parts))
    if core.isupper() and shouting and len(core) > 5 and re.search("[AEIOU]", core):
        return token.lower()  # a word in capitals ("CHONDROMA"), not an acronym
    return token


@functools.cache
def _dictionary() -> frozenset[str]:
    text = resources.files(__package__).joinpath("words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def _known(word: str) -> bool:
    known = _dictionary()
    if word in known:
        return True
    if len(word) > 4 and word.endswith("ies") and word[:-3] + "y" in known:
        return True
    if len(word) > 4 and word.endswith("es") and word[:-2] in known:
        return True
    return len(word) > 3 and word.endswith("s") and not word.endswith("ss") and word[:-1] in known


@functools.lru_cache(maxsize=4096)
def _split(word: str) -> tuple[str, ...] | None:
    """Take a run-together word apart into the fewest known words; `None` where that is not safe.

    Every letter must belong to a known word of three letters or more ("no", "of", "in" and "on" are allowed where they
    can only be that); among splits of equal length the one with the longest shortest part wins.
    """
    if not 6 <= len(word) <= 60:
        return None
    # best[i]: the best split of the first i letters, as (number of parts, -shortest part, parts).
    best: list[tuple[int, int, tuple[str, ...]] | None] = [(0, -99, ()), *([None] * len(word))]
    for end in range(2, len(word) + 1):
        for start in range(max(0, end - 24), end - 1):
            before = best[start]
            part = word[start:end]
            if before is None or before[0] >= _MAX_PARTS or not _is_part(part, start, end == len(word)):
                continue
            candidate = (before[0] + 1, max(before[1], -len(part)), (*before[2], part))
            current = best[end]
            if current is None or candidate[:2] < current[:2]:
                best[end] = candidate
    found = best[len(word)]
    return found[2] if found and found[0] > 1 else None


def _is_part(part: str, start: int, last: bool) -> bool:
    if len(part) == 2:
        return (part == "no" and start == 0) or (part in ("of", "in", "on") and start > 0 and not last)
    if (last and part in _NEVER_LAST) or (start == 0 and part in _NEVER_FIRST):
        return False
    return len(part) > 2 and _known(part)
