"""Commands that are printed for the user to run: with the options that were given, so that they work as printed."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from enum import Enum
from typing import Any

import typer


def given_words(context: typer.Context, only: Collection[str] = (), without: Collection[str] = ()) -> list[str]:
    """Return the options of the command that is running, as they were given.

    Args:
        context: of the command.
        only: names of parameters that are told; empty: all.
        without: names of parameters that are not told.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if parameter.param_type_name != "option" or source is None or source.name != "COMMANDLINE":
            continue
        if name in without or (only and name not in only):
            continue
        option = max(parameter.opts, key=len)
        for value in _values(context.params[name]):
            words += [option] if value is True else [option, str(value)]
    return words


def command(*words: object) -> str:
    """Return the words of a command of the program as a line for a shell."""
    return shlex.join(["acclimate", *map(str, words)])


def _values(value: Any) -> list[Any]:
    several = value if isinstance(value, list | tuple) else [value]
    return [one.value if isinstance(one, Enum) else one for one in several]
