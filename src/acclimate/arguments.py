"""Arguments of the public functions: a value of a wrong kind ends in one line that names it and says what to give."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from acclimate.errors import ConfigError

LONGEST = 60  # letters of a value in a message


def shown(value: object) -> str:
    """Return a value as a message shows it: short, on one line; of anything but plain values, its type alone.

    >>> shown("cat"), shown(2.5), shown([1, 2])
    ("'cat'", '2.5', 'a list')
    """
    if not isinstance(value, str | bytes | bool | Real | None):
        return kind_of(value)
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def kind_of(value: object) -> str:
    """Return the type of a value in words.

    >>> kind_of([1]), kind_of(Path("a")).endswith("Path"), kind_of(None), kind_of(int)
    ('a list', True, 'None', 'a type')
    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def whole(name: str, value: Any, low: int | None = None) -> int:
    """Return a whole number, of Python or NumPy; a truth value is none.

    Raises:
        ConfigError: it is another thing, or below `low`.
    """
    if isinstance(value, Integral) and not isinstance(value, bool) and (low is None or int(value) >= low):
        return int(value)
    raise ConfigError(f"`{name}` is {shown(value)}; give a whole number{'' if low is None else f' of at least {low}'}")


def number(name: str, value: Any, low: float) -> float:
    """Return a finite number of at least `low`.

    Raises:
        ConfigError: it is another thing.
    """
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and float(value) >= low:
        return float(value)
    raise ConfigError(f"`{name}` is {shown(value)}; give a number of at least {low}")


def share(name: str, value: Any, low: float | None = None) -> float:
    """Return a number above 0, or of at least `low`, and below 1.

    Raises:
        ConfigError: it is another thing.
    """
    real = isinstance(value, Real) and not isinstance(value, bool)
    if real and (float(value) > 0 if low is None else low <= float(value)) and float(value) < 1:
        return float(value)
    least = "above 0" if low is None else f"of at least {low:g}"
    raise ConfigError(f"`{name}` is {shown(value)}; give a number {least} and below 1")


def text(name: str, value: Any) -> str:
    """Return a text that is not blank.

    Raises:
        ConfigError: it is another thing.
    """
    if isinstance(value, str) and value.strip():
        return value
    raise ConfigError(f"`{name}` is {shown(value)}; give a text that is not empty")


def path(name: str, value: Any) -> Path:
    """Return a path that is given as text or as a path.

    Raises:
        ConfigError: it is another thing, such as bytes, or empty.
    """
    found = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if isinstance(found, str) and found.strip():
        return Path(found)
    raise ConfigError(f"`{name}` is {shown(value)}; give a path as text or as pathlib.Path")


def texts(name: str, values: Any) -> tuple[str, ...]:
    """Return several texts, none of which is blank; a single text is not taken for the list of its letters.

    Raises:
        ConfigError: they are another thing.
    """
    if isinstance(values, str | bytes):
        raise ConfigError(f"`{name}` is {shown(values)}, which is one text; give a list")
    if not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise ConfigError(f"`{name}` is {shown(values)}; give a list of texts")
    found = tuple(values)
    wrong = next((value for value in found if not isinstance(value, str) or not value.strip()), "")
    if wrong != "" or "" in found:
        raise ConfigError(f"`{name}` has {shown(wrong)} among its texts; give texts that are not empty")
    return tuple(map(str, found))


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return a mapping of texts, empty for none.

    Raises:
        ConfigError: it is another thing.
    """
    if value is None or isinstance(value, Mapping):
        texts(name, tuple(value or ()))
        return value or {}
    raise ConfigError(f"`{name}` is {shown(value)}; give a mapping, such as a dict")


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return a text that is one of several.

    Raises:
        ConfigError: it is another thing.
    """
    known = tuple(choices)
    if isinstance(value, str) and value in known:
        return value
    raise ConfigError(
        f"`{name}={value!r}`: choose {', '.join(known)}"
        if isinstance(value, str)
        else f"`{name}` is {shown(value)}; choose {', '.join(known)}"
    )


def encoder(name: str, value: Any) -> Any:
    """Return the place of a frozen encoder, or a loaded encoder, as it is given.

    Raises:
        ConfigError: it is another thing.
    """
    if isinstance(value, str | os.PathLike) and os.fspath(value).strip():
        path(name, value)
    elif not hasattr(type(value), "fingerprint"):
        raise ConfigError(f"`{name}` is {shown(value)}; give a folder, a Hub id or a loaded encoder")
    return value


def progress(name: str, value: Any) -> Any:
    """Return a receiver of progress, or none.

    Raises:
        ConfigError: it is another thing.
    """
    if value is None or all(callable(getattr(value, method, None)) for method in ("start", "advance", "finish")):
        return value
    raise ConfigError(f"`{name}` is {shown(value)}; give an object with `start`, `advance` and `finish`, or none")


def optional(check: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    """Return none, or what another check of this module returns.

    Raises:
        ConfigError: as the check does.
    """
    return None if value is None else check(name, value)
