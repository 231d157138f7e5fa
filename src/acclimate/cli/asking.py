"""The verb `ask`: a question to a generative model about images."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.console import show_line


def ask(
    run: opt.RunPath,
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE... QUESTION", help="Images, folders or quoted patterns; the question.")
    ],
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens of the model.")] = 64,
    backbone: opt.SavedBackbone = None,
    domain_encoder: opt.SavedDomainEncoder = None,
    swap: opt.Swap = False,
    device: opt.DeviceOption = opt.Device.auto,
    plugin: opt.Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    quiet: opt.Quiet = False,
) -> None:
    """Ask a generative model that was tuned, such as by vitask, about one image or several."""
    console.show_notes(quiet)
    from acclimate.errors import ConfigError
    from acclimate.runs import load

    meanings.use_plugins(plugin)
    *files, question = images
    if not files:
        raise ConfigError(f"'{question}' is alone; give an image, and behind it the question, in quotes")
    if os.path.lexists(question):
        raise ConfigError(f"'{question}' is a file and stands where the question is; ask behind the images, in quotes")
    model = load(run, backbone, device.value, domain_encoder=domain_encoder, swap=swap)
    answers = model.ask(files, question, max_tokens, on_corrupt="skip")
    for answer in answers:
        if as_json:
            row = {"path": answer.path, "question": question, "answer": answer.answer, "error": answer.error}
            tables.print_json(row, indent=None)
        elif not answer.error:
            show_line(console.out, answer.answer if len(answers) == 1 else f"{answer.answer:<24}  {answer.path}")
    console.refuse_unread([answer.error for answer in answers if answer.error], len(answers), "answered")
