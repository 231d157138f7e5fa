"""Reference prompts: sentences that describe each class, for methods that learn from them."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from acclimate.errors import DataError, brief
from acclimate.files import fingerprint
from acclimate.options import closest
from acclimate.prompts.files import read_entries
from acclimate.prompts.names import class_words
from acclimate.prompts.promptset import PromptSet

if TYPE_CHECKING:
    import numpy as np

    from acclimate.data import ImageData

BANK = "bank"

_logger = logging.getLogger("acclimate.prompts")


@dataclass(frozen=True, repr=False)
class ReferencePrompts:
    """Sentences that describe classes.

    Attributes:
        sentences: of each class, by the name that the data give it; at least one, none twice.
        source: the file that they come from, or `BANK`.
    """

    sentences: Mapping[str, tuple[str, ...]]
    source: str = BANK

    def __repr__(self) -> str:
        """Return the source, and how many sentences there are."""
        sentences = sum(len(some) for some in self.sentences.values())
        return f"ReferencePrompts({self.source!r}, {len(self.sentences)} classes, {sentences} sentences)"

    @property
    def fingerprint(self) -> str:
        """A name for the sentences, wherever they come from."""
        return fingerprint({name: list(some) for name, some in self.sentences.items()})

    def describe(self) -> dict[str, Any]:
        """Return what a record says of them."""
        counts = {name: len(some) for name, some in self.sentences.items()}
        return {"source": self.source, "fingerprint": self.fingerprint, "sentences": counts}

    def of(self, class_names: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the sentences of each class.

        Raises:
            DataError: a class has none.
        """
        missing = [name for name in class_names if name not in self.sentences]
        if missing:
            raise DataError(f"{self.source}: no reference prompts for {_named(missing)}; write at least one for each")
        return [self.sentences[name] for name in class_names]

    def sets(self, data: ImageData) -> tuple[list[tuple[str, ...]], np.ndarray]:
        """Return the sentences of each class, and which of these sets describes each image (N,).

        Raises:
            DataError: a class has none.
        """
        return self.of(data.class_names), data.labels


def open_reference_prompts(
    given: str | Path | Mapping[str, Sequence[str]] | ReferencePrompts | None,
    class_names: Sequence[str],
    prompts: PromptSet,
) -> ReferencePrompts:
    """Return reference prompts for classes: of a file, of a mapping, as they are, or composed where none are given.

    Raises:
        DataError: see `read_reference_prompts`.
    """
    if isinstance(given, ReferencePrompts):
        return given
    if given is None:
        return compose_reference_prompts(class_names, prompts)
    if isinstance(given, Mapping):
        entries = [("the reference prompts", str(name), value) for name, value in given.items()]
        return _matched(entries, "the reference prompts", class_names, prompts)
    return read_reference_prompts(given, class_names, prompts)


def read_reference_prompts(
    path: str | Path, class_names: Sequence[str], prompts: PromptSet | None = None
) -> ReferencePrompts:
    """Read reference prompts for the classes of some data.

    A class in the file belongs to a class of the data where the two agree in capitals, separators and run-together
    words aside, or where it is spelled as the words that stand for the class. Prompts of a class that the data do not
    have are left out, with a note.

    Args:
        path: JSON or YAML mapping of class to a list of sentences (the layout of CuPL, Pratt et al. 2023), or CSV with
            the columns `class,prompt`, one row a sentence.
        class_names: the classes of the data.
        prompts: gives the words that stand for classes, where they are not what the names themselves say.

    Raises:
        DataError: the file cannot be read so, a value is no sentence, or classes of the data have none.
    """
    return _matched(read_entries(path, "file of reference prompts", "prompt"), str(path), class_names, prompts)


def _matched(
    entries: Sequence[tuple[str, str, Any]], source: str, class_names: Sequence[str], prompts: PromptSet | None
) -> ReferencePrompts:
    """Return the sentences of each class from (where, class, value) entries."""
    spellings: dict[str, str] = {}
    words = prompts.words(class_names) if prompts else class_names
    for name, word in [*zip(class_names, words, strict=True), *((name, name) for name in class_names)]:
        spellings[_plain(word)] = name  # the names themselves come last: they win
    found: dict[str, dict[str, None]] = {}
    unknown: dict[str, None] = {}
    for where, key, value in entries:
        sentences = _sentences(value, key, where)
        owner = key if key in class_names else spellings.get(_plain(key))
        if owner is None:
            unknown[key] = None
        else:
            found.setdefault(owner, {}).update(dict.fromkeys(sentences))
    missing = [name for name in class_names if name not in found]
    if missing:
        close = {name: closest(name, unknown) for name in missing}
        shown = [f"{name!r}, nearest entry {near!r}" if near else repr(name) for name, near in close.items()]
        hints = [*shown[:8], *(["..."] if len(shown) > 8 else [])]
        raise DataError(
            f"{source}: no reference prompts for {len(missing)} of {len(class_names)} classes: {'; '.join(hints)}; "
            "write at least one sentence for each"
        )
    if unknown:
        _logger.info("%s: left out %s, which the data do not have", source, _named(list(unknown)))
    return ReferencePrompts({name: tuple(found[name]) for name in class_names}, source)


def compose_reference_prompts(class_names: Sequence[str], prompts: PromptSet) -> ReferencePrompts:
    """Return reference prompts that need no language model: the ensemble of the domain, and known looks of classes.

    Every class has the sentences of its domain's ensemble. The classes of the embedded domains have sentences about
    their looks beside them.

    Args:
        class_names: as the data spell them.
        prompts: the domain, and the words of the classes.
    """
    looks, frames = _looks(prompts.domain.id)
    sentences: dict[str, tuple[str, ...]] = {}
    for name, word, ensemble in zip(
        class_names, prompts.words(class_names), prompts.ensemble(class_names), strict=True
    ):
        described = [
            frame.replace("{look}", look).replace("{}", word)
            for look in looks.get(_plain(word), ())
            for frame in frames
        ]
        sentences[name] = tuple(dict.fromkeys([*ensemble, *described]))
    return ReferencePrompts(sentences)


def _sentences(value: Any, name: str, where: str) -> list[str]:
    sentences = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    if not sentences:
        raise DataError(
            f"{where}: the prompts of class {brief(name)!r} are {brief(repr(value))}; write a list of sentences"
        )
    for sentence in sentences:
        if not isinstance(sentence, str) or not sentence.strip():
            shown = f"class {brief(name)!r} has the prompt {brief(repr(sentence))}"
            raise DataError(f"{where}: {shown}; write a sentence, or leave it out")
    return [" ".join(sentence.split()) for sentence in sentences]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", class_words(name).lower()) if name.strip() else ""


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(brief(name)) for name in names[:8])
    return f"{len(names)} classes ({shown}{', ...' if len(names) > 8 else ''})" if len(names) > 1 else f"class {shown}"


@cache
def _looks(domain: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return the looks of known classes by their plain words, and the sentences around them."""
    text = resources.files(__package__).joinpath("descriptions.yaml").read_text(encoding="utf-8")
    entry = yaml.safe_load(text).get(domain, {"looks": {}, "frames": []})
    return {_plain(word): looks for word, looks in entry["looks"].items()}, entry["frames"]
