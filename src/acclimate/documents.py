"""Texts that people write, YAML and JSON, read in one way: with limits, and with the words as they are written.

YAML 1.1 turns `no` into false, `001` into 1, `1.10` into 1.1 and `2020-01-01` into a date. Here a bare word stays the
text that stands there, unless it is a number that reads back as it is written (3, 0.5), or empty, `~` or `null`, which
is nothing. Names before a colon are always text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from acclimate.errors import AcclimateError, DataError, brief
from acclimate.opening import read_bytes

DEEPEST = 50  # levels of lists and mappings within each other; a file that people write has five
MOST = 2_000_000  # values that a document may stand for, a long text counted as several
LONG = 64  # characters that count as one value

_TAG = "tag:yaml.org,2002:"
_NOTHING = ("", "~", "null", "Null", "NULL")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"(\s*:)?|[{}\[\]]')
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Unreadable(Exception):
    """What is wrong in a document, and in which line, where that is known."""

    def __init__(self, what: str, line: int | None = None) -> None:
        super().__init__(what)
        self.line = line


def read_text(path: Path, error: type[AcclimateError] = DataError, next_step: str = "name another file") -> str:
    """Return the text of a file in UTF-8, or in UTF-16 where it says so in its first two bytes.

    Args:
        path: the file.
        error: the kind of error to raise.
        next_step: what to do about a file that is not there.

    Raises:
        AcclimateError: of that kind; the file cannot be opened, or holds no text.
    """
    try:
        content = read_bytes(path)
    except OSError as reason:
        raise error(f"cannot read {path}: {(reason.strerror or str(reason)).lower()}; {next_step}") from None
    encoding, name = ("utf-16", "UTF-16") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "UTF-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as reason:
        line = content[: reason.start].count(b"\n") + 1
        what = f"byte {content[reason.start]:#04x} is not {name}"
        raise error(f"{path} line {line}: {what}; save the file with the encoding UTF-8") from None
    if "\x00" in text:
        raise error(f"{path}: this is not a text file; save it as text with the encoding UTF-8")
    return text


def load_json(text: str, title: str, error: type[AcclimateError] = DataError, next_step: str = "mend it") -> Any:
    """Return what a JSON text says.

    Args:
        text: the JSON.
        title: of the file, with the row where there is one, for messages.
        error: the kind of error to raise.
        next_step: what to do about a text that cannot be read.

    Raises:
        AcclimateError: of that kind; it is not JSON, names something twice, is nested too deeply, or holds half a
            character.
    """
    return _load(_json, "JSON", text, title, error, next_step)


def load_yaml(
    text: str,
    title: str,
    error: type[AcclimateError] = DataError,
    next_step: str = "mend it",
    words: bool = False,
) -> Any:
    """Return what a YAML text says, see above; merge keys (`<<`) and aliases work, other tags than `!!str` do not.

    Args:
        text: the YAML.
        title: of the file, for messages.
        error: the kind of error to raise.
        next_step: what to do about a text that cannot be read.
        words: keep numbers and `null` as the words that are written, too.

    Raises:
        AcclimateError: of that kind; it is not YAML, names something twice, is nested too deeply, refers to itself, or
            stands for more than a machine can hold.
    """
    return _load(lambda text: _yaml(text, words), "YAML", text, title, error, next_step)


def _load(
    read: Callable[[str], Any], kind: str, text: str, title: str, error: type[AcclimateError], next_step: str
) -> Any:
    try:
        return read(text)
    except Unreadable as found:
        several = kind == "YAML" or "\n" in text.strip()
        place = f"{title} line {found.line}" if found.line and several else title
        raise error(f"{place}: not valid {kind} ({found}); {next_step}") from None


def _json(text: str) -> Any:
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            twice.append("")
        return found

    try:
        content = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{error.msg}, character {error.colno}", error.lineno) from None
    except ValueError:
        raise Unreadable("a number has thousands of digits") from None
    except RecursionError:
        raise Unreadable("lists and names are nested too deeply") from None
    if twice:
        raise Unreadable(*_repeated(text))
    _check_depth(content)
    if _ESCAPED_SURROGATE.search(text):
        _check_letters(content)
    return content


def _repeated(text: str) -> tuple[str, int | None]:
    """Return what to say of the first name that stands twice in one object of a JSON text, and its line."""
    known: list[set[str]] = [set()]
    for found in _TOKEN.finditer(text):
        if found[0] in "{[":
            known.append(set())
        elif found[0] in "}]":
            known.pop()
        elif found[1] is not None:
            name = json.loads(found[0].removesuffix(found[1]))
            if name in known[-1]:
                return f"{brief(repr(name))} stands there twice", text.count("\n", 0, found.start()) + 1
            known[-1].add(name)
    return "a name stands there twice", None


def _check_depth(content: Any) -> None:
    level, depth = [content], 0
    while level := [part for one in level for part in _parts(one) if isinstance(part, dict | list)]:
        depth += 1
        if depth >= DEEPEST:
            raise Unreadable(f"lists and names within one another, more than {DEEPEST} deep")


def _check_letters(content: Any) -> None:
    level = [content]
    while level:
        for one in level:
            for text in [one] if isinstance(one, str) else [*one] if isinstance(one, dict) else []:
                if _SURROGATE.search(text):
                    raise Unreadable(f"{brief(ascii(text))} holds half a character (a lone surrogate)")
        level = [part for one in level for part in _parts(one)]


def _parts(content: Any) -> list[Any]:
    return [*content.values()] if isinstance(content, dict) else content if isinstance(content, list) else []


@dataclass
class _Open:
    """A list or mapping that is being read; `name` is what stands before the colon, until its value comes."""

    value: Any
    anchor: str | None
    size: int = 1
    name: Any = None
    line: int = 0
    merged: list[Any] = field(default_factory=list)


_MERGE = object()
_MARK = object()  # no name stands before the colon yet


def _yaml(text: str, words: bool) -> Any:
    """Build the values from the events of the parser, without recursion, so that the limits hold before they matter."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is ten times as fast
    line = 1
    try:
        builder = _Builder(words)
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line + 1 if event.start_mark else line
            builder.take(event, line)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Unreadable(" ".join(str(error.problem).split()), mark.line + 1 if mark else line) from None
    except (yaml.YAMLError, ValueError) as error:  # characters that no text holds
        raise Unreadable(brief(" ".join(str(error).split()), 120), line) from None
    return builder.content


class _Builder:
    """Values from the events of a YAML parser.

    Args:
        words: every bare word is text.
    """

    def __init__(self, words: bool) -> None:
        self.words = words
        self.content: Any = None
        self.documents = 0
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}

    def take(self, event: yaml.Event, line: int) -> None:
        """Take the next event."""
        if isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise Unreadable("a second document begins with ---", line)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise Unreadable(f"*{brief(str(event.anchor))} stands for nothing, or for itself", line)
            self._put(*self.anchors[event.anchor], line, None)
        elif isinstance(event, yaml.ScalarEvent):
            value = _scalar(event, line, self.words, self._awaits_name())
            size = 1 + len(event.value) // LONG
            self._put(value, size, line, event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            kind = "seq" if isinstance(event, yaml.SequenceStartEvent) else "map"
            _check_tag(event.tag, {kind}, line)
            if len(self.open) >= DEEPEST:
                raise Unreadable(f"lists and names within one another, more than {DEEPEST} deep", line)
            if self._awaits_name():
                raise Unreadable("a list or mapping stands before a colon, where a name belongs", line)
            self.open.append(_Open([] if kind == "seq" else {}, event.anchor, name=_MARK, line=line))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            done = self.open.pop()
            for other in done.merged:
                for name, value in other.items():
                    done.value.setdefault(name, value)
            self._put(done.value, done.size, done.line, done.anchor)

    def _awaits_name(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1].value, dict) and self.open[-1].name is _MARK

    def _put(self, value: Any, size: int, line: int, anchor: str | None) -> None:
        """Put a value where it stands: into the list or mapping that is open, or at the top."""
        if anchor is not None:
            self.anchors[anchor] = (value, size)
        if not self.open:
            self.content = value
            return
        into = self.open[-1]
        into.size += size
        if into.size > MOST:
            raise Unreadable("its aliases stand for more values than a machine can hold", line)
        if isinstance(into.value, list):
            into.value.append(value)
        elif into.name is _MARK:
            if value is not _MERGE and not isinstance(value, str):
                raise Unreadable("a list or mapping stands before a colon, where a name belongs", line)
            if value is not _MERGE and value in into.value:
                raise Unreadable(f"{brief(repr(value))} stands there twice", line)
            into.name = value
        elif into.name is _MERGE:
            others = value if isinstance(value, list) else [value]
            if not all(isinstance(other, dict) for other in others):
                raise Unreadable("<< takes in a mapping, or a list of them", line)
            into.merged += others
            into.name = _MARK
        else:
            into.value[into.name], into.name = value, _MARK


def _scalar(event: yaml.ScalarEvent, line: int, words: bool, is_name: bool) -> Any:
    """Return what a text in a YAML file stands for."""
    text, bare = event.value, event.style is None or event.style == ""
    _check_tag(event.tag, {"str", "int", "float", "bool", "null", "timestamp"}, line)
    if _SURROGATE.search(text):
        raise Unreadable(f"{brief(ascii(text))} holds half a character (a lone surrogate)", line)
    if is_name:
        return _MERGE if bare and text == "<<" and event.tag is None else text
    if not bare or event.tag in (f"{_TAG}str", "!"):
        return text
    if words:
        return None if text in ("", "~") else text
    return None if text in _NOTHING else _number(text)


def _number(text: str) -> Any:
    """Return a number that reads back as it is written, or the text."""
    if not re.fullmatch(r"-?\d{1,15}(\.\d{1,17})?", text):
        return text
    number = float(text) if "." in text else int(text)
    return number if str(number) == text else text


def _check_tag(tag: str | None, known: set[str], line: int) -> None:
    if tag not in (None, "!", *(f"{_TAG}{name}" for name in known)):
        raise Unreadable(f"the tag {brief(str(tag))} is not read here", line)
