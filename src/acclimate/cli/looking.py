"""The verbs that only look: `data check`, `methods`, `backbones`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli import console, meanings, ranking, tables
from acclimate.cli import options as opt
from acclimate.cli.retelling import command, given_words, next_command
from acclimate.cli.verdicts import show_commands


def check(
    context: typer.Context,
    data: opt.DataPath,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    bands: opt.Bands = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    as_json: opt.Json = False,
) -> None:
    """Report corrupt files, duplicates across splits, shortcuts, tiny classes and imbalance; exit code 1 on errors."""
    console.show_notes(quiet=as_json, without="in_check")
    from acclimate.data import check_data, load_data

    how = meanings.reading(layout, images_root, split_seed, split_rule, split_from, bands=bands)
    report = check_data(load_data(data, **how))
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
    meanings.use_plugins(plugin)
    if name is None:
        tables.show_methods(as_json)
    else:
        tables.show_settings(name, as_json)


def backbones(
    context: typer.Context,
    on: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Labelled images: rank what is at hand on them.", rich_help_panel=opt.DATA),
    ] = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID|DIR",
            help="With --on: rank this one, too, a backbone or a domain encoder; repeatable.",
            rich_help_panel=opt.MODEL,
        ),
    ] = None,
    only: Annotated[
        bool,
        typer.Option("--only", help="With --on: rank those that are named, and no others.", rich_help_panel=opt.MODEL),
    ] = False,
    shots: opt.Shots = "16",
    seed: Annotated[int, typer.Option(help="Seed of the shots.", rich_help_panel=opt.LEARNING)] = 1,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    bands: opt.Bands = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    on_corrupt: opt.Corrupt = opt.OnCorrupt.error,
    device: opt.DeviceOption = opt.Device.auto,
    no_cache: opt.NoCache = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """List the catalogue of backbones, or rank those at hand on your labelled images (--on DATA).

    See also `acclimate backbones convert`.
    """
    if on is None:
        _refuse_without_data(context)
        tables.show_backbones(as_json)
        return
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.data import load_data, parse_shots
    from acclimate.runs import rank_backbones

    data = load_data(on, **meanings.reading(layout, images_root, split_seed, split_rule, split_from, on_corrupt, bands))
    told: dict[str, Any] = {"only": only, "shots": parse_shots(shots), "seed": seed, "device": device.value}
    with Progress(quiet) as progress:
        found = rank_backbones(
            data, backbone or (), **told, cache_dir=meanings.feature_cache(no_cache), progress=progress
        )
    ranking.show_ranking(found, as_json)
    if not as_json:
        words = (*ranking.words_for(found[0]), "--out", "runs/mine")
        show_commands(next_command(context, "adapt", on, *words, same_data=True))


def _refuse_without_data(context: typer.Context) -> None:
    """Refuse options that mean nothing for the catalogue.

    Raises:
        ConfigError: one was given.
    """
    from acclimate.errors import ConfigError

    given = [word for word in given_words(context, without=("as_json", "quiet")) if word.startswith("--")]
    if given:
        raise ConfigError(f"{given[0]} is about a ranking on images; name them with `on=DATA`")
