"""Which reference prompts a job learns from, and what of them decides the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from acclimate.bench.choosing import choose
from acclimate.bench.entries import at
from acclimate.bench.spec import Contender, Source
from acclimate.prompts import PromptSet, open_reference_prompts


class References:
    """The reference prompts of a bench while it is planned: each file is read once for the same classes.

    Args:
        sources: the data sets of the bench, by name.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self.sources = sources
        self._known: dict[tuple[str | None, tuple[str, ...], tuple[str, ...]], str] = {}

    def find(
        self, contender: Contender, training: Sequence[str], class_names: Sequence[str], prompts: PromptSet
    ) -> tuple[str | None, str]:
        """Return the file that a method learns from, none where they are composed, and the hash of its sentences.

        Args:
            contender: the method.
            training: names of the data sets that train.
            class_names: the classes that are learned.
            prompts: their words.

        Raises:
            ConfigError: several files are named, or the file cannot be read or lacks a class.
        """
        name = choose(contender, {data: self.sources[data] for data in training}, "reference_prompts")
        key = (name, tuple(training), tuple(class_names))
        if key not in self._known:
            with at(f"reference_prompts of '{contender.label}' on {'+'.join(training)}"):
                found = open_reference_prompts(None if name is None else Path(name), class_names, prompts)
                self._known[key] = found.fingerprint[:16]
        return name, self._known[key]
