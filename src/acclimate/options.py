"""Typed options: one dataclass is the documentation, the default and the check of a setting.

A configuration is a frozen dataclass whose fields are made with `option`. The same declaration serves the Python
caller, `--set name=value` on the command line, the table of `acclimate methods NAME` and `adapter.json`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

from acclimate.errors import ConfigError

Config = TypeVar("Config")

LONGEST_WORD = 100  # letters of a word for which a near one is looked for

_hints: Callable[[type], Mapping[str, Any]] = functools.lru_cache(maxsize=256)(typing.get_type_hints)
"""The types of the fields of a class; a bench asks for them a thousand times before it starts."""

_WANTED = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


def option(default: Any, help: str, *, low: float | None = None, high: float | None = None, later: bool = False) -> Any:
    """Declare one setting of a configuration dataclass.

    Args:
        default: value when the user says nothing; its annotation is the type that `parse_settings` converts to.
        help: one sentence with the unit or the source of the default.
        low: smallest value allowed, inclusive.
        high: largest value allowed, inclusive.
        later: added after runs had been recorded; where it has its default, it is not part of what identifies a run.
    """
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "later": later})


def identifying(config: object) -> dict[str, Any]:
    """Return the settings that tell a run from others, so that runs of earlier versions are still known."""
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)  # type: ignore[arg-type]
        if not (field.metadata.get("later") and getattr(config, field.name) == field.default)
    }


def closest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that is spelled most like this one, capitals aside, or none that is near.

    Nobody mistypes a word of hundreds of letters, and comparing such words takes for ever.
    """
    lower = {other.lower(): other for other in known if len(other) <= LONGEST_WORD}
    if len(word) > LONGEST_WORD:
        return None
    found = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=cutoff)
    return lower[found[0]] if found else None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known word, or the empty string."""
    close = closest(word, known)
    return "" if close is None else f"; did you mean '{close}'?"


class Checked:
    """Base of configuration dataclasses: types, choices and ranges are verified when one is made.

    A dataclass with a field `variant` may give defaults that hold in one variant only, see `make_config`.
    """

    VARIANTS: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            choices = _choices(hints[field.name])
            if choices and value not in choices:
                raise ConfigError(f"{field.name}={value!r} is not one of {', '.join(map(str, choices))}")
            members = _members(hints[field.name])
            if not choices and not any(_fits(value, member) for member in members):
                raise ConfigError(f"{field.name}={value!r}: give {_WANTED[members[0]]}")
            low, high = field.metadata.get("low"), field.metadata.get("high")
            if value is None or isinstance(value, str):
                continue
            if (low is not None and not value >= low) or (high is not None and not value <= high):
                raise ConfigError(f"{field.name}={value} is out of range; choose a value {_range(low, high)}")


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"of at least {low}" if low is not None else f"of at most {high}"


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the types that an annotation allows; None comes last."""
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    if not union:
        return (annotation,)
    return tuple(sorted(typing.get_args(annotation), key=lambda member: member is types.NoneType))


def _fits(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, kind)


def _choices(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def make_config(cls: type[Config], settings: Mapping[str, Any]) -> Config:
    """Build a configuration from names and values; text values are converted to each field's type.

    Where `settings` names a variant, what they leave open takes the defaults of that variant.

    Raises:
        ConfigError: for an unknown name (with the nearest known one), or a value of the wrong type or out of range.
    """
    hints = _hints(cls)
    known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    variants: Mapping[str, Mapping[str, Any]] = getattr(cls, "VARIANTS", {})
    values = next((dict(own) for variant, own in variants.items() if variant == settings.get("variant")), {})
    for name, value in settings.items():
        if name not in known:
            raise ConfigError(f"unknown setting '{name}'{nearest(name, known)} (settings: {', '.join(known)})")
        hint = hints[name]
        values[name] = _convert(name, value, hint) if isinstance(value, str) else _widen(value, hint)
    return cls(**values)


def parse_assignments(items: Iterable[str]) -> dict[str, str]:
    """Read `name=value` texts, as given on the command line, into a dictionary."""
    settings = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"`settings={item!r}`: write it as name=value, for example `settings={{'epochs': 20}}`")
        settings[name.strip().replace("-", "_")] = value.strip()
    return settings


def _widen(value: Any, annotation: Any) -> Any:
    """Return a whole number as a float where the field is one: 1 and 1.0 are the same setting."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return float(value) if whole and _members(annotation)[0] is float else value


def _convert(name: str, text: str, annotation: Any) -> Any:
    members = _members(annotation)
    if types.NoneType in members and text.lower() in {"none", "null"}:
        return None
    annotation = members[0]
    if _choices(annotation):
        return next((choice for choice in _choices(annotation) if str(choice) == text), text)
    if annotation is bool:
        if text.lower() in {"true", "yes", "on", "1"}:
            return True
        if text.lower() in {"false", "no", "off", "0"}:
            return False
        raise ConfigError(f"{name}={text}: give {_WANTED[bool]}")
    if annotation in (int, float):
        try:
            return annotation(text)
        except ValueError:
            raise ConfigError(f"{name}={text}: give {_WANTED[annotation]}") from None
    return text


def describe_options(cls: type) -> list[dict[str, str]]:
    """Return one row (name, type, default, help) for each option of a configuration, for tables and documentation.

    Where a variant has another default, the help ends with it.
    """
    hints, variants = _hints(cls), getattr(cls, "VARIANTS", {})
    rows = []
    for field in dataclasses.fields(cls):
        annotation = hints[field.name]
        choices = _choices(annotation)
        kind = " | ".join(map(str, choices)) if choices else getattr(annotation, "__name__", str(annotation))
        others = [f"; {variant}: {values[field.name]}" for variant, values in variants.items() if field.name in values]
        help = "".join([field.metadata.get("help", ""), *others])
        rows.append({"name": field.name, "type": kind, "default": str(field.default), "help": help})
    return rows
