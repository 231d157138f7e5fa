"""Verbs that make folders: `data make` of an embedded domain, `backbones convert` of a checkpoint of open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from acclimate.cli import console
from acclimate.cli import options as opt
from acclimate.cli.retelling import command
from acclimate.cli.verdicts import show_commands


def make(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Embedded domain: satellite, sar, thin_section, ...")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to make.")],
    per_class: Annotated[int, typer.Option(help="Images of each class in each acquisition domain.")] = 40,
    questions: Annotated[
        int | None, typer.Option(help="Instead, so many images of scenes with questions about each (sar).")
    ] = None,
    size: Annotated[int, typer.Option(help="Edge of the images in pixels.")] = 128,
    seed: Annotated[int, typer.Option(help="Number of the collection.")] = 0,
    quiet: opt.Quiet = False,
) -> None:
    """Make images of an embedded domain, with their classes, or of scenes with questions and answers."""
    console.show_notes(quiet)
    from acclimate.synthetic import write_dataset, write_questions

    if questions is None:
        write_dataset(domain, out, per_class=per_class, size=size, seed=seed)
        words: tuple[str, ...] = ()
    else:
        write_questions(domain, out, images=questions, size=size, seed=seed)
        words = ("--method", "instruct", "--shots", "all")
    console.tell(console.out, "Next:")
    show_commands(command("adapt", out, *words, "--out", "runs/mine"))


def convert(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="FILE|DIR|ID",
            help="Checkpoint of open_clip (.safetensors, .pt, .bin), a folder that holds one, a Hub id, or a file of a "
            "Hub repository (ORG/NAME/FILE).",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")],
    activation: Annotated[
        str | None,
        typer.Option(
            metavar="quick_gelu|gelu", help="Activation, which weights do not tell, where no configuration says it."
        ),
    ] = None,
    quiet: opt.Quiet = False,
) -> None:
    """Write a checkpoint of open_clip, or pickled weights, once as a folder in Hugging Face format."""
    console.show_notes(quiet)
    from acclimate.backbones import convert_backbone, load_backbone

    folder = convert_backbone(checkpoint, out, activation)
    facts = load_backbone(folder).describe()
    parameters = facts["parameters"] / 1e6
    console.out.print(
        f"{folder}: {facts['family']}, {facts['image_size']} pixels, {parameters:.1f} million parameters",
        soft_wrap=True,
    )
    console.tell(console.out, "Next:")
    show_commands(command("adapt", "YOUR_DATA", "--backbone", folder, "--out", "runs/mine"))
