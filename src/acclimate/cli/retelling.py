"""Commands that are printed for the user to run: with the options that were given, so that they work as printed."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from enum import Enum
from typing import Any

import typer

ABOUT_DATA = (
    "layout",
    "images_root",
    "split_seed",
    "split_rule",
    "split_from",
    "on_corrupt",
    "domain",
    "names",
    "bands",
)
"""Options that say how DATA are read, divided and called: a command on the same data needs them again."""
ABOUT_METHODS = ("plugin",)
"""Options without which a method is not known: every command on a run needs them again."""
ABOUT_RUN = ("backbone", "domain_encoder", "swap", "classes_of", "bands", *ABOUT_METHODS)
"""Options that say where the parts of a saved run are: a command on the same run needs them again."""


def next_command(context: typer.Context, verb: str, *words: object, same_data: bool = False) -> str:
    """Return a command for a shell, with the options of the present one that it needs as well.

    Args:
        context: of the present command.
        verb: the next one, such as "adapt".
        words: its arguments and options.
        same_data: whether it reads the DATA of the present one.
    """
    from acclimate.cli.app import commands

    known = {parameter.name for parameter in dict(commands())[verb].params}
    wanted = [name for name in ABOUT_METHODS + (ABOUT_DATA if same_data else ()) if name in known]
    return command(*verb.split(), *words, *given_words(context, wanted))


def given_words(
    context: typer.Context, only: Collection[str] | None = None, without: Collection[str] = ()
) -> list[str]:
    """Return the options of the command that is running, as they were given, but for those that say the default.

    Args:
        context: of the command.
        only: names of parameters that are told; none: all.
        without: names of parameters that are not told.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source, value = context.get_parameter_source(name), context.params.get(name)
        if parameter.param_type_name != "option" or source is None or source.name != "COMMANDLINE":
            continue
        if name in without or (only is not None and name not in only) or value == parameter.default:
            continue
        option = max(parameter.opts, key=len)
        for one in _values(value):
            words += [option] if one is True else [option, str(one)]
    return words


def command(*words: object) -> str:
    """Return the words of a command of the program as a line for a shell."""
    return shlex.join(["acclimate", *map(str, words)])


def _values(value: Any) -> list[Any]:
    several = value if isinstance(value, list | tuple) else [value]
    return [one.value if isinstance(one, Enum) else one for one in several]
