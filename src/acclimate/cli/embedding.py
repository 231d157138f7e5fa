"""The verb `embed`: features of images from frozen encoders."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli import console, tables
from acclimate.cli import options as opt
from acclimate.cli.console import tell
from acclimate.counting import counted


class Features(StrEnum):
    """Where a backbone is read."""

    projected = "projected"
    before = "before"


def embed(
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Images, folders or quoted patterns.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Parquet file for the features.", rich_help_panel=opt.OUTPUT)
    ],
    backbone: Annotated[
        str | None,
        typer.Option(metavar="ID|DIR", help="Dual encoder; by default mini-clip.", rich_help_panel=opt.MODEL),
    ] = None,
    domain_encoder: Annotated[
        str | None,
        typer.Option(metavar="ID|DIR", help="Domain encoder in its place.", rich_help_panel=opt.MODEL),
    ] = None,
    features: Annotated[
        Features,
        typer.Option(help="Of a backbone: in the space of images and texts, or before.", rich_help_panel=opt.MODEL),
    ] = Features.projected,
    grid: Annotated[
        int, typer.Option(help="Tiles in a row and column, 2 to 4, beside the whole.", rich_help_panel=opt.MODEL)
    ] = 0,
    bands: opt.Bands = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass.")] = 32,
    device: opt.DeviceOption = opt.Device.auto,
    precision: opt.PredictionPrecision = opt.Precision.fp32,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write features of images, from a frozen encoder; any number of images streams through."""
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.runs.embedding import Embedder, write_embeddings

    how: dict[str, Any] = {"bands": bands, "device": device.value, "precision": precision.value}
    embedder = Embedder.of(backbone, domain_encoder, features.value, grid, **how)
    with Progress(quiet) as progress:
        count, failed = write_embeddings(embedder, images, out, batch_size, progress)
    if as_json:
        tables.print_json({"file": str(out), "rows": count, "unreadable": len(failed), **embedder.describe()})
    else:
        size = f" of {counted(embedder.width, 'number')}" + (f" and {embedder.grid**2} tiles" if embedder.grid else "")
        tell(console.err, f"{counted(count, 'row')}{size} in {out}", "note")
    console.refuse_unread(failed, count, "embedded")
