"""Messages of the library in the words of the command line: options in backticks, as Python spells them, get dashes."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

OPTION = re.compile(r"`([a-z][a-z_]*)(?:=([^`]+))?`")


def in_dashes(message: str) -> str:
    """Return a message with the options of the command line where it names those of Python.

    >>> in_dashes("choose another `out`, or use `overwrite=True`")
    'choose another --out, or use --overwrite'
    >>> in_dashes("leave them out with `on_corrupt='skip'`; `nothing` stays")
    'leave them out with --on-corrupt skip; `nothing` stays'
    """
    return OPTION.sub(_dashed, message) if "`" in message else message


def _dashed(found: re.Match[str]) -> str:
    option = _options().get(found[1])
    if option is None:
        return found[0]
    try:
        value = ast.literal_eval(found[2]) if found[2] else None
    except (SyntaxError, ValueError):  # a placeholder, such as FOLDER
        value = found[2]
    return option if value is None or isinstance(value, bool) else f"{option} {shlex.quote(str(value))}"


@cache
def _options() -> dict[str, str]:
    """Return the options of all verbs, by the names of their parameters."""
    import typer.main

    from acclimate.cli.app import app

    return {
        str(parameter.name): max(parameter.opts, key=len)
        for command in _commands(typer.main.get_command(app))
        for parameter in command.params
        if parameter.param_type_name == "option"
    }


def _commands(command: Any) -> Iterator[Any]:
    yield command
    for child in getattr(command, "commands", {}).values():
        yield from _commands(child)
