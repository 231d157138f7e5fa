"""Messages of the library in the words of the command line: options in backticks, as Python spells them, get dashes."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from functools import cache

OPTION = re.compile(r"(?<!column )`([a-z][a-z_]*)(?:=([^`]+))?`")  # a column of a table is no option
SETTINGS = "settings"  # of Python, one mapping; on the command line each of them is a --set of its own


def in_dashes(message: str) -> str:
    """Return a message with the options of the command line where it names those of Python.

    >>> in_dashes("choose another `out`, or use `overwrite=True`")
    'choose another --out, or use --overwrite'
    >>> in_dashes("leave them out with `on_corrupt='skip'`; `nothing` stays")
    'leave them out with --on-corrupt skip; `nothing` stays'
    >>> in_dashes("use `settings={'lr': 0.002, 'epochs': 20}`")
    'use --set lr=0.002 --set epochs=20'
    """
    return OPTION.sub(_dashed, message) if "`" in message else message


def _dashed(found: re.Match[str]) -> str:
    name, written = found.groups()
    option = "--set" if name == SETTINGS else _options().get(name)
    if option is None:
        return found[0]
    try:
        value = ast.literal_eval(written) if written else None
    except (SyntaxError, ValueError):  # a placeholder, such as FOLDER
        value = written
    if value is None or isinstance(value, bool):
        return option
    given = [f"{key}={item}" for key, item in value.items()] if isinstance(value, Mapping) else [str(value)]
    return " ".join(f"{option} {shlex.quote(text)}" for text in given)


@cache
def _options() -> dict[str, str]:
    """Return the options of all verbs, by the names of their parameters."""
    from acclimate.cli.app import commands

    return {
        str(parameter.name): max(parameter.opts, key=len)
        for _, command in commands()
        for parameter in command.params
        if parameter.param_type_name == "option"
    }
