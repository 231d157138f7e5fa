"""The verb `data make`: an embedded domain as a folder, with labels or with questions."""

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
