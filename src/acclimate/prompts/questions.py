"""The questions that a language model is asked about each class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import yaml

from acclimate.documents import read_text
from acclimate.errors import ConfigError, DataError
from acclimate.prompts.domains import DEFAULT_DOMAIN, Domain
from acclimate.prompts.promptset import PromptSet

_PLACES = {"{}", "{picture}"}


def list_questions(domain: Domain) -> tuple[str, ...]:
    """Return the questions of a domain, with places for the class (`{}`) or an image of it (`{picture}`)."""
    text = resources.files(__package__).joinpath("questions.yaml").read_text(encoding="utf-8")
    return tuple(yaml.safe_load(text)["natural" if domain.id == DEFAULT_DOMAIN else "others"])


def read_questions(path: str | Path) -> tuple[str, ...]:
    """Read questions from a text file, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        DataError: the file cannot be read, has no question, or one without a place for the class.
    """
    lines = read_text(Path(path), next_step="give a text file with one question a line").splitlines()
    questions = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not questions:
        raise DataError(f"{path}: no question in it; write one a line, with {{}} for the class")
    for question in questions:
        try:
            check_question(question)
        except ConfigError as error:
            raise DataError(f"{path}: {error}") from None
    return questions


def check_question(question: str) -> None:
    """Refuse a question that does not name the class, or has a place for something else.

    Raises:
        ConfigError: it is one.
    """
    places = set(re.findall(r"\{[^{}]*\}", question))
    if not places or places - _PLACES:
        wrong = f"'{min(places - _PLACES)}' stands for nothing" if places else "no place for the class"
        raise ConfigError(
            f"question {question!r}: {wrong}; write {{}} for the class, or {{picture}} for an image of it"
        )


def ask(questions: Sequence[str], class_name: str, prompts: PromptSet) -> list[str]:
    """Return the questions about a class."""
    (word,) = prompts.words([class_name])
    (sentence,) = prompts.sentences([class_name])
    return [question.replace("{picture}", sentence.rstrip(". ")).replace("{}", word) for question in questions]
