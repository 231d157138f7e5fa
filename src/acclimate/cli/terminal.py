"""Text from elsewhere, such as names of files and classes, made safe for a terminal: what would steer it is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# C0 and C1 controls but for tab and new line, marks that turn the direction of writing, other ends of lines, and the
# surrogates that stand for bytes that are no text.
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_OR_BROKEN = re.compile(f"[\t\n]|{STEERING.pattern}")


def visible(text: str, steering: re.Pattern[str] = STEERING) -> str:
    r"""Return a text in which characters that would steer a terminal are written as in Python.

    >>> visible("\x1b[31mred")
    '\\x1b[31mred'
    """
    return steering.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return a text from elsewhere on one line, with nothing that steers."""
    return visible(text, _OR_BROKEN)


def escape(text: str) -> str:
    """Return a text from elsewhere for use in markup: on one line, with its brackets, and with nothing that steers."""
    return markup.escape(one_line(text))


def json_text(content: Any, indent: int | None = None, ascii: bool = False) -> str:
    """Return content as readable JSON in which what would steer a terminal is escaped, or all that is not ASCII."""
    text = json.dumps(content, indent=indent, ensure_ascii=ascii)
    return STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class SafeConsole(Console):
    """A console on which no text can move the cursor, change colours or titles, or turn the direction of writing."""

    def on_broken_pipe(self) -> None:
        """Leave it to the command line how a program ends whose output nobody reads; rich would end it with code 1."""
        raise BrokenPipeError

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a string into text, before its width is measured."""
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is drawn, also of texts that were no strings."""
        for segment in super().render(renderable, options):
            steers = segment.control is None and STEERING.search(segment.text)
            yield Segment(visible(segment.text), segment.style) if steers else segment
