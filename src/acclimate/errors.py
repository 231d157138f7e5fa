"""Errors that are the user's to mend: one line that names the file, the value and the next step.

Library code raises them; the command line prints the line and exits with code 2.
"""

from __future__ import annotations

import re

LONGEST_WORD = 200  # characters of a run without blanks that a message shows; paths are shorter
LONGEST = 590  # characters of a message


def brief(text: str, most: int = 60) -> str:
    """Return a text with its middle left out, where it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[len(text) - (most - 3 - most * 2 // 3) :]}"


def on_a_screen(message: str) -> str:
    """Return a message as one line that fits a screen, whatever values it quotes.

    A word of thousands of characters is cut in the middle, and so is a message that would still be too long, whose end
    is the next step.
    """
    line = " ".join(message.splitlines())
    return brief(re.sub(rf"\S{{{LONGEST_WORD},}}", lambda found: brief(found[0], LONGEST_WORD), line), LONGEST)


class AcclimateError(Exception):
    """Base of every error that a user can mend. Anything else that escapes is a bug.

    The message is one line that fits a screen, whatever values it quotes.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(on_a_screen(str(message)))


class DataError(AcclimateError):
    """Images, labels, manifests or splits that cannot be used as they are."""


class BackboneError(AcclimateError):
    """A backbone that cannot be found, loaded or used for what was asked."""


class ConfigError(AcclimateError, ValueError):
    """An option with a value that is out of range, unknown, or at odds with another."""


class RunError(AcclimateError):
    """A run folder that cannot be read, written, resumed or matched to what was asked."""


class TrainingError(AcclimateError):
    """Training that cannot go on, such as a loss that is not finite."""


class LanguageModelError(AcclimateError):
    """A language model that does not answer, or not in a way that can be read."""


class MissingInputError(AcclimateError, AttributeError):
    """A method that asks a batch for a field which its inputs do not name."""
