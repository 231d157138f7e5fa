"""The verb `look`: where a model looks in images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import out as shown
from acclimate.cli.console import tell
from acclimate.cli.layout import Sheet

HOW = {
    "relevance": "relevance: attention x gradient of the log-odds of the class, through what reads the image",
    "occlusion": "occlusion: what the log-odds of the class lose by each part of the image that is painted over",
}


@dataclass(frozen=True)
class Row:
    """What is told of a map."""

    image: str
    class_name: str
    probability: float
    how: str
    file: str


def look(
    run: opt.RunPath,
    images: Annotated[list[str], typer.Argument(metavar="IMAGES...", help="Images, folders or quoted patterns.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the maps, a PNG for each image.")] = Path("maps"),
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="What counts for this class; else for the most probable one."),
    ] = None,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    classes_of: opt.ClassesOf = None,
    bands: opt.SavedBands = None,
    device: opt.DeviceOption = opt.Device.auto,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Show where a model looks: how much each part of an image counts for a class, as PNG."""
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.runs import load
    from acclimate.runs.saliency import look_at_images
    from acclimate.runs.saliency_files import MapFiles

    meanings.use_plugins(plugin)
    model = load(run, backbone, device.value, None, domain_encoder, swap, classes_of, bands)
    rows: list[Row] = []
    unread: list[str] = []
    maps = look_at_images(model, images, class_name, "skip")
    files = MapFiles(out, run)
    with Progress(quiet) as progress:
        progress.start("images", None)
        for found in maps:
            if found.error:
                unread.append(found.error)
            else:
                file = str(files.write(found))
                rows.append(Row(found.path, found.class_name, found.probability, found.how, file))
            progress.advance(1)
        progress.finish()
    if as_json:
        tables.print_json([_plain(row) for row in rows])
    else:
        _show(rows)
    console.refuse_unread(unread, len(rows) + len(unread), "mapped")


def _plain(row: Row) -> dict[str, Any]:
    """Return a row as JSON values, with the names that the options have."""
    return {"image": row.image, "class": row.class_name, **{n: getattr(row, n) for n in ("probability", "how", "file")}}


def _show(rows: list[Row]) -> None:
    """Show which map is of which image, and how they were made."""
    sheet = Sheet(["image", "class", "probability", "file"])
    for row in rows:
        sheet.add(row.image, row.class_name, f"{row.probability:.1%}", row.file)
    tables.show_words(sheet)
    for how in sorted({row.how for row in rows}):
        tell(shown, f"by {HOW[how]}", "note")
