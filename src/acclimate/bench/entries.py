"""Entries of a YAML file, each checked under its place there, so that an error can name it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from acclimate.errors import AcclimateError, ConfigError
from acclimate.options import nearest


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ConfigError: it cannot be read, is not YAML, or gives a name twice in one mapping.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)  # a safe loader: plain values only
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {(error.strerror or str(error)).lower()}; name a SPEC.yaml") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not readable as YAML ({error.problem}); mend the line") from None
    except (yaml.YAMLError, ValueError) as error:  # characters that no text holds, dates that do not exist
        raise ConfigError(f"{path}: not readable as YAML ({' '.join(str(error).split())}); mend the file") from None


@contextlib.contextmanager
def at(place: object, *entries: str) -> Iterator[None]:
    """Put a place before the message of an error that a user can mend.

    Args:
        place: in the file.
        entries: options of Python that are entries there, and so are written as YAML writes them.

    Raises:
        ConfigError: instead of any such error, since an entry there asks for what cannot be had.
    """
    try:
        yield
    except AcclimateError as error:
        raise ConfigError(f"{place}: {_as_entries(str(error), entries)}") from None


def _as_entries(message: str, names: Collection[str]) -> str:
    for name in names:
        message = re.sub(rf"`{name}=('?)(?P<value>[^`]*?)\1`", rf"{name}: \g<value>", message).replace(
            f"`{name}`", name
        )
    return message


def _listed(given: Any) -> Any:
    values = given if isinstance(given, (list, tuple)) else [given]
    return [] if values == [None] else values


def _named(given: Any) -> Any:
    return {str(name): value for name, value in given.items()} if isinstance(given, dict) else given


T = TypeVar("T")
Text = Annotated[str, Field(pattern=r"\S")]
"""Text, or a number that is meant as text; not a word such as `no`, which YAML takes for false."""
Names = Annotated[dict[str, T], BeforeValidator(_named)]
"""Names with values; a name is text, whatever YAML takes it for."""
Many = Annotated[tuple[T, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One or more; a single value is a list of one."""
Open = Annotated[T, Field(default=None)]
"""What may be left out, and where it stands must not be empty."""

_WORDS = {
    **dict.fromkeys(
        ("string_type", "string_pattern_mismatch", "string_unicode"),
        "give text, not {!r}; words that YAML reads otherwise stand in quotes",
    ),
    **dict.fromkeys(("dict_type", "model_type"), "give names with values (name: value), not {!r}"),
    "int_type": "give a whole number, not {!r}",
    "too_short": "give at least one",
}


class Entry(BaseModel):
    """Base of what stands in a file as names with values; other names are refused."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


E = TypeVar("E", bound=Entry)


def read_entry(kind: type[E], given: Any, place: str = "") -> E:
    """Return what stands in a file at a place, checked.

    Args:
        kind: what should stand there.
        given: what stands there.
        place: where, for messages; by default the whole file.

    Raises:
        ConfigError: something is unknown, missing or wrong; the first such thing is named, with its place.
    """
    try:
        return kind.model_validate(_named(given))
    except ValidationError as error:
        raise ConfigError(_line(error, list(kind.model_fields), place)) from None


def _line(error: ValidationError, known: Collection[str], place: str) -> str:
    """Return one line about what is wrong first; a name that nobody knows explains another one that is missing."""
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    kind, where = first["type"], first["loc"]
    if kind == "extra_forbidden":
        where, name = where[:-1], str(where[-1])
        words = f"unknown entry '{name}'{nearest(name, known)} (entries: {', '.join(sorted(known))})"
    elif kind == "missing":
        where, words = where[:-1], f"the entry '{where[-1]}' is missing"
    elif kind == "value_error":
        words = str(first["ctx"]["error"])
    else:
        words = _WORDS[kind].format(first["input"])
    parts = [place, *(part for part in where if isinstance(part, str))]
    return f"{'.'.join(filter(None, parts)) or 'the file'}: {words}"


class _Loader(yaml.SafeLoader):
    """Refuses a name that stands twice in a mapping; YAML would keep the last and say nothing."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        known = set()
        for key, _ in node.value:
            if key.value in known and isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem=f"'{key.value}' stands there twice", problem_mark=key.start_mark)
            known.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node
