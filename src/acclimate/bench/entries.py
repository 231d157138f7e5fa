"""Entries of a YAML file, each checked under its place there, so that an error can name it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

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
def at(place: object) -> Iterator[None]:
    """Put a place before the message of an error that a user can mend.

    Raises:
        ConfigError: instead of any such error, since an entry there asks for what cannot be had.
    """
    try:
        yield
    except AcclimateError as error:
        raise ConfigError(f"{place}: {error}") from None


def mapping(
    entry: Any, place: str, known: Collection[str] | None = None, required: Collection[str] = ()
) -> dict[str, Any]:
    """Return an entry that gives names with values, the names as text.

    Args:
        entry: what stands there.
        place: where, for messages.
        known: the names there are; none allows all.
        required: those that must be given.

    Raises:
        ConfigError: something else stands there, or a name is unknown or missing.
    """
    if not isinstance(entry, dict):
        raise ConfigError(f"{place}: give names with values (name: value), not {entry!r}")
    values = {str(name): value for name, value in entry.items()}
    for name in values:
        if known is not None and name not in known:
            raise ConfigError(
                f"{place}: unknown entry '{name}'{nearest(name, known)} (entries: {', '.join(sorted(known))})"
            )
    for name in required:
        if name not in values:
            raise ConfigError(f"{place}: the entry '{name}' is missing")
    return values


def sequence(entry: Any, place: str) -> list[Any]:
    """Return an entry that lists values; a single value is a list of one.

    Raises:
        ConfigError: nothing stands there.
    """
    values = entry if isinstance(entry, list) else [entry]
    if not values or values == [None]:
        raise ConfigError(f"{place}: give at least one")
    return values


def text(entry: Any, place: str) -> str:
    """Return an entry that is text, or a number that is meant as text.

    Raises:
        ConfigError: it is empty or something else, such as the word `no`, which YAML takes for false.
    """
    if isinstance(entry, (str, int, float)) and not isinstance(entry, bool) and str(entry).strip():
        return str(entry)
    raise ConfigError(f"{place}: give text, not {entry!r}; words that YAML reads otherwise stand in quotes")


def whole(entry: Any, place: str) -> int:
    """Return an entry that is a whole number.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(entry, int) and not isinstance(entry, bool):
        return entry
    raise ConfigError(f"{place}: give a whole number, not {entry!r}")


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
