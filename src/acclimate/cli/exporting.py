"""The verb `export`: a run in a form that other programs read."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import out as shown
from acclimate.cli.console import tell
from acclimate.cli.verdicts import show_commands
from acclimate.counting import counted


class Form(StrEnum):
    """What is written."""

    onnx = "onnx"


def export(
    run: opt.RunPath,
    to: Annotated[Form, typer.Option("--to", help="Form of the export: a graph for onnxruntime, and a script.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to make; by default onnx in RUN.", rich_help_panel=opt.OUTPUT),
    ] = None,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    classes_of: opt.ClassesOf = None,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a run as a folder that predicts without acclimate and torch."""
    console.show_notes(quiet)
    from acclimate.exporting import export_onnx
    from acclimate.exporting.folder import SCRIPT, USUAL, plain
    from acclimate.runs import load

    meanings.use_plugins(plugin)
    found = export_onnx(load(run, backbone, "cpu", None, domain_encoder, swap, classes_of), out)
    if as_json:
        tables.print_json(plain(found))
        return
    tell(shown, f"{found.folder}: {counted(found.classes, 'class', 'classes')}, {found.size / 1e6:.1f} MB.")
    agreed = f"Probabilities are those of the run to {found.random.difference:.1g} on random numbers"
    if found.tested is None:
        tell(shown, f"{agreed}; no test image of the run is where it was, so that the script was not tried.", "note")
    else:
        images = counted(found.tested.images, "test image")
        tell(shown, f"{agreed} and to {found.tested.difference:.1g} on {images}, with the same labels.", "note")
    tell(shown, "Next, with numpy, onnxruntime and Pillow alone:")
    show_commands(shlex.join(["python", str((out or run / USUAL) / SCRIPT), "IMAGE"]))
