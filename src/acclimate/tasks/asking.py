"""One question to a generative model about each of some images; nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from acclimate.errors import ConfigError
from acclimate.methods import Generator, Method, list_methods

if TYPE_CHECKING:
    from acclimate.training.batch import Batch


@dataclass(frozen=True)
class Answer:
    """What a model answers about one image.

    Attributes:
        path: the file, or empty for an image in memory.
        answer: what it writes; empty where the image could not be read.
        error: why the image could not be read, else empty.
    """

    path: str
    answer: str
    error: str = ""


class Asking:
    """A question, put to a method that writes text.

    Args:
        question: what is asked.
        max_tokens: longest answer in tokens of the model.

    Raises:
        ConfigError: an empty question.
    """

    reads: frozenset[str] = frozenset()

    def __init__(self, question: str, max_tokens: int) -> None:
        if not question.strip():
            raise ConfigError("the question is empty; ask something, in quotes")
        self.question, self.max_tokens = question.strip(), max_tokens

    def check_predicts(self, method: Method) -> None:
        """Refuse a method that writes no text.

        Raises:
            ConfigError: so it is.
        """
        if not isinstance(method, Generator):
            able = ", ".join(other.name for other in list_methods() if issubclass(other, Generator))
            raise ConfigError(f"{method.name} answers no questions; methods that do: {able}")

    @torch.no_grad()
    def predict(self, method: Generator, batch: Batch, paths: Sequence[str]) -> Iterator[Answer]:
        """Yield the answer about each image of a batch."""
        texts = method.generate(batch, [self.question] * len(batch), self.max_tokens)
        for path, text in zip(paths, texts, strict=True):
            yield Answer(path, text)

    def unreadable(self, path: str, reason: str) -> Answer:
        """Return an answer that is none."""
        return Answer(path, "", reason)
