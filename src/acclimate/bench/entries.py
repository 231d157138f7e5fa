"""Entries of a YAML file, each checked under its place there, so that an error can name it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from acclimate.documents import load_yaml, read_text
from acclimate.errors import AcclimateError, ConfigError, brief
from acclimate.options import nearest


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ConfigError: it cannot be read or is not YAML, see `acclimate.documents.load_yaml`.
    """
    return load_yaml(read_text(path, ConfigError, "name a SPEC.yaml"), str(path), ConfigError)


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
"""Text, or a number that is meant as text."""
Names = Annotated[dict[str, T], BeforeValidator(_named)]
"""Names with values."""
Many = Annotated[tuple[T, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One or more; a single value is a list of one."""
Open = Annotated[T, Field(default=None)]
"""What may be left out, and where it stands must not be empty."""

_WORDS = {
    **dict.fromkeys(
        ("string_type", "string_pattern_mismatch", "string_unicode"),
        "give text, not {}; words that YAML reads otherwise stand in quotes",
    ),
    **dict.fromkeys(("dict_type", "model_type"), "give names with values (name: value), not {}"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "give true or false, not {}"),
    "int_type": "give a whole number, not {}",
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
        words = _WORDS.get(kind, f"{first['msg']}, not {{}}").format(brief(repr(first["input"])))
    parts = [place, *(part for part in where if isinstance(part, str))]
    return f"{'.'.join(filter(None, parts)) or 'the file'}: {words}"
