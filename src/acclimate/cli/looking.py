"""The verbs that only look: `data check`, `methods`, `backbones`."""

from __future__ import annotations

from typing import Annotated

import typer

from acclimate.cli import console, tables
from acclimate.cli import options as opt
from acclimate.cli.retelling import command, given_words
from acclimate.cli.verdicts import show_commands


def check(
    context: typer.Context,
    data: opt.DataPath,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    as_json: opt.Json = False,
) -> None:
    """Report corrupt files, duplicates across splits, shortcuts, tiny classes and imbalance; exit code 1 on errors."""
    console.show_notes(quiet=as_json, without="in_check")
    from acclimate.data import check_data, load_data

    report = check_data(load_data(data, **opt.reading(layout, images_root, split_seed, split_rule, split_from)))
    tables.show_check(report, as_json)
    if not as_json:
        given = given_words(context)
        unreadable = any(finding.kind == "corrupt" for finding in report.findings)
        words = [*given, "--on-corrupt", "skip"] if unreadable else given
        console.tell(console.out, "Next:" if report.ok else "Next, once the errors are mended:")
        show_commands(command("adapt", data, *words, "--out", "runs/mine"))
    if not report.ok:
        raise typer.Exit(1)


def methods(
    name: Annotated[str | None, typer.Argument(help="Show the settings of this method.")] = None,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
) -> None:
    """List the methods, or the settings of one."""
    opt.use_plugins(plugin)
    if name is None:
        tables.show_methods(as_json)
    else:
        tables.show_settings(name, as_json)


def backbones(as_json: opt.Json = False) -> None:
    """List the catalogue of backbones."""
    tables.show_backbones(as_json)
