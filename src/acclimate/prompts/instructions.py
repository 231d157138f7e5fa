"""Instructions for generative VLMs: what is asked of an image, with the list of its possible answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from acclimate.errors import ConfigError, brief

INSTRUCTION = "Analyze the given image. The possible answers are: {labels}."
LIST = "{labels}"

_SENTENCES = re.compile(r"(?<=[.?!])\s+")


def check_instruction(instruction: str, where: str) -> None:
    """Check that an instruction says something, and has no other braces than those of one `{labels}`.

    Raises:
        ConfigError: it is not so.
    """
    if not isinstance(instruction, str) or not instruction.strip():
        raise ConfigError(f"{where}: an instruction asks something; write at least a sentence")
    if instruction.count(LIST) > 1 or re.search(r"[{}]", instruction.replace(LIST, "")):
        raise ConfigError(
            f"{where}: {brief(repr(instruction), 120)} may have {LIST} once, where the list of the classes goes, and "
            "no other braces"
        )


def render_instruction(instruction: str, labels: Sequence[str] | None = None) -> str:
    """Return an instruction with its list of labels, or without the sentence that has it.

    Labels are parted by semicolons, since many have commas in them; where one has a semicolon, each has a line.

    Args:
        instruction: with `{labels}`, or without.
        labels: in their order; none leaves the sentence out.

    >>> render_instruction("Look at it. The answers are: {labels}.", ["eosinophil", "granulocytes, immature"])
    'Look at it. The answers are: eosinophil; granulocytes, immature.'
    >>> render_instruction("Look at it. The answers are: {labels}.")
    'Look at it.'
    """
    if labels is not None:
        parting = "; " if not any(";" in label for label in labels) else "\n"
        listed = parting.join(labels) if parting == "; " else "\n" + "\n".join(labels) + "\n"
        return instruction.replace(LIST, listed)
    kept = [sentence for sentence in _SENTENCES.split(instruction) if LIST not in sentence]
    return " ".join(kept) or instruction.replace(LIST, "").strip()


def match_answer(text: str, answers: Sequence[str]) -> int | None:
    """Return which of the possible answers a written text is, apart from case, blanks and a final full stop; or none.

    >>> match_answer(" Bare  land.", ["forest", "bare land"])
    1
    """
    places = {_normal(answer): place for place, answer in enumerate(answers)}
    return places.get(_normal(text))


def _normal(text: str) -> str:
    return " ".join(text.split()).rstrip(".").strip().casefold()
