"""The verb `suggest`: which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import out as shown
from acclimate.cli.console import tell
from acclimate.cli.layout import Sheet
from acclimate.cli.retelling import command
from acclimate.cli.verdicts import show_commands
from acclimate.counting import counted

if TYPE_CHECKING:
    from acclimate.runs.suggesting import Suggestions


def suggest(
    run: opt.RunPath,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Images, folders or quoted patterns.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Images to suggest.")] = 20,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE", help="Folder for suggestions.csv and sheet.png; or the table, .csv, .jsonl or .parquet."
        ),
    ] = None,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    classes_of: opt.ClassesOf = None,
    bands: opt.SavedBands = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass.")] = 32,
    device: opt.DeviceOption = opt.Device.auto,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Suggest which images to label next: uncertain, typical of many others, unlike each other."""
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.runs import load, suggest
    from acclimate.runs.suggestion_files import SuggestionFiles

    meanings.use_plugins(plugin)
    files = SuggestionFiles.at(out) if out else None
    model = load(run, backbone, device.value, None, domain_encoder, swap, classes_of, bands)
    with Progress(quiet) as progress:
        found = suggest(model, images, count, batch_size, progress)
    if files:
        files.write(found)
    if as_json:
        tables.print_json(found.to_dict())
    else:
        _show(found)
        if files:
            shown.print()
            told = f"{files.table} lists them, {files.sheet} shows them."
            tell(shown, f"{told} Add them to your data, each with the right label, and adapt again:")
            show_commands(command("adapt", "YOUR_DATA", "--split-from", run, "--out", "runs/more"))
    console.refuse_unread(found.unreadable, found.images, "compared")


def _show(found: Suggestions) -> None:
    """Show the suggestions, and among how many images they were found."""
    sheet = Sheet(["rank", "label", "probability", "uncertainty", "stands for", "image"])
    for row in found.rows:
        figures = (f"{row.probability:.1%}", f"{row.uncertainty:.2f}", str(row.stands_for))
        sheet.add(str(row.rank), row.label, *figures, row.path)
    tables.show_words(sheet)
    told = f"{counted(found.images, 'image')}, {found.labelled} of them with a label already, {found.copies} copies of "
    tell(shown, f"{told}others; {found.compared} compared", "note")
