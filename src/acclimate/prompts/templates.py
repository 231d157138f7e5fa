"""Templates of one's own, in place of those of a domain."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from acclimate import arguments
from acclimate.documents import load_json, load_yaml, read_text
from acclimate.errors import ConfigError, DataError, brief
from acclimate.prompts.domains import check_template

MOST = 1000


def open_templates(given: str | os.PathLike[str] | Sequence[str] | None) -> tuple[str, ...]:
    """Return templates, each checked and none twice; none where none are given.

    Args:
        given: a sentence with `{}` for the class, several, or the path of a file as `read_templates` reads it. Text
            without `{}` is not taken for a path.

    Raises:
        ConfigError: a sentence has not exactly one `{}`, or there are none.
        DataError: the file cannot be read.
    """
    if given is None:
        return ()
    if isinstance(given, os.PathLike):
        return read_templates(Path(given))
    return check_templates([given] if isinstance(given, str) else arguments.texts("templates", given), "`templates`")


def read_templates(path: Path) -> tuple[str, ...]:
    """Return the templates of a file.

    Args:
        path: a list in YAML (.yaml, .yml) or JSON (.json), or else a text with one template a line, in which empty
            lines and those that begin with # are left out.

    Raises:
        DataError: it cannot be read, holds no list of sentences, or one of them has not exactly one `{}`.
    """
    text, suffix = read_text(path, next_step="name a file with one template a line"), path.suffix.lower()
    if suffix not in (".json", ".yaml", ".yml"):
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
        told = [(f"{path} line {number}", line) for number, line in lines if line and not line.startswith("#")]
    else:
        content = load_json(text, str(path)) if suffix == ".json" else load_yaml(text, str(path), words=True)
        if isinstance(content, str):
            content = [content]
        if not isinstance(content, list):
            raise DataError(f"{path}: holds no list; write one template on each line, behind a dash in YAML")
        told = [(f"{path} template {number}", sentence) for number, sentence in enumerate(content, 1)]
    try:
        found = [check_templates([sentence], where)[0] for where, sentence in told]
        return check_templates(found, str(path))
    except ConfigError as error:
        raise DataError(str(error)) from None


def check_templates(sentences: Sequence[object], where: str) -> tuple[str, ...]:
    """Return sentences without surplus blanks, none twice.

    Raises:
        ConfigError: there are none, or too many, or one has not exactly one `{}`.
    """
    if not sentences:
        raise ConfigError(f"{where}: no templates; write at least one sentence with {{}} for the class")
    if len(sentences) > MOST:
        raise ConfigError(f"{where}: {len(sentences)} templates; write at most {MOST}")
    found = []
    for sentence in sentences:
        if not isinstance(sentence, str):
            raise ConfigError(f"{where}: {brief(repr(sentence))} is no sentence; write text with {{}} for the class")
        check_template(sentence, where)
        found.append(" ".join(sentence.split()))
    return tuple(dict.fromkeys(found))
