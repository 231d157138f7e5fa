"""Commands that the program prints as the next step, with whatever they need to work as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import typer

ABOUT_DATA = ("layout", "images_root", "split_seed", "on_corrupt", "domain", "names")
"""Options that say how DATA are read, divided and called: a command on the same data needs them again."""
ABOUT_METHODS = ("plugin",)
"""Options without which a method is not known: every command on a run needs them again."""


def next_command(context: typer.Context, verb: str, *words: object, same_data: bool = False) -> str:
    """Return a command for a shell, with the options of the present one that it needs as well.

    Only what was given and is not the default is carried over, and only what the next command has.

    Args:
        context: of the present command.
        verb: the next one, such as "adapt".
        words: its arguments and options.
        same_data: whether it reads the DATA of the present one.
    """
    wanted = ABOUT_METHODS + (ABOUT_DATA if same_data else ())
    return shlex.join(["acclimate", *verb.split(), *map(str, words), *_carried(context, verb, wanted)])


def _carried(context: typer.Context, verb: str, wanted: tuple[str, ...]) -> Iterator[str]:
    from acclimate.cli.app import commands

    known = {parameter.name for parameter in dict(commands())[verb].params}
    for parameter in context.command.params:
        name: Any = parameter.name
        value = context.params.get(name)
        if name not in wanted or name not in known or value is None or value == parameter.default:
            continue
        for one in value if isinstance(value, list | tuple) else [value]:
            yield from (max(parameter.opts, key=len), str(one))
