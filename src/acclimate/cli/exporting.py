"""The verb `export`: a run in a form that other programs read."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import out as shown
from acclimate.cli.console import tell
from acclimate.cli.verdicts import show_commands
from acclimate.counting import counted
from acclimate.errors import ConfigError

if TYPE_CHECKING:
    from acclimate.exporting.int8 import Cost
    from acclimate.runs import AdaptedModel


class Form(StrEnum):
    """What is written."""

    onnx = "onnx"
    transformers = "transformers"


def export(
    run: opt.RunPath,
    to: Annotated[
        Form, typer.Option("--to", help="A graph for onnxruntime and a script, or a plain model of transformers.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder to make; by default named by the form, in RUN.", rich_help_panel=opt.OUTPUT
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Multiply whole numbers of 8 bits: smaller, quicker, and not quite the same.")
    ] = False,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    classes_of: opt.ClassesOf = None,
    plugin: opt.Plugins = None,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write a run as a folder that predicts without acclimate, and as a graph without torch."""
    console.show_notes(quiet)
    from acclimate.runs import load

    meanings.use_plugins(plugin)
    model = load(run, backbone, "cpu", None, domain_encoder, swap, classes_of)
    if to == Form.transformers:
        if int8:
            raise ConfigError("`int8` is for a graph of onnxruntime; leave it out, or export to onnx")
        _plain(model, out, as_json)
        return
    from acclimate.exporting import export_onnx
    from acclimate.exporting.folder import SCRIPT, USUAL, plain

    found = export_onnx(model, out, int8)
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
    if found.int8 is not None:
        _tell_cost(found.int8)
    tell(shown, "Next, with numpy, onnxruntime and Pillow alone:")
    show_commands(shlex.join(["python", str((out or run / USUAL) / SCRIPT), "IMAGE"]))


def _tell_cost(cost: Cost) -> None:
    """Say what 8 bits cost on test images."""
    if cost.accuracy is None or cost.accuracy_float32 is None or cost.agreement is None:
        tell(shown, "No test image of the run is where it was, so that nobody knows what 8 bits cost.", "warning")
        return
    right, whole, same = (100 * share for share in (cost.accuracy, cost.accuracy_float32, cost.agreement))
    tell(
        shown,
        f"With 8 bits, {right:.1f} % of {counted(cost.images, 'test image')} get the right label, with 32 "
        f"{whole:.1f} % ({cost.bytes_float32 / 1e6:.1f} MB); {same:.1f} % of the labels are the same.",
    )


def _plain(model: AdaptedModel, out: Path | None, as_json: bool) -> None:
    """Write a run as a plain model of transformers, and say what was written."""
    from acclimate.exporting import export_transformers

    found = export_transformers(model, out)
    if as_json:
        told = {"folder": str(found.folder), "architecture": found.architecture, "classes": found.classes}
        files = sorted(file.name for file in found.folder.iterdir())
        tables.print_json(told | {"files": files, "bytes": found.size, "largest_difference": found.difference})
        return
    classes = counted(found.classes, "class", "classes")
    tell(shown, f"{found.folder}: a {found.architecture} for {classes}, {found.size / 1e6:.1f} MB.")
    tell(shown, f"Probabilities are those of the run to {found.difference:.1g} on random numbers.", "note")
    tell(shown, f"{found.folder / 'README.md'} says in a few lines how it is used, with transformers alone.")
