"""`pretrain classifier`: a domain encoder from labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.retelling import next_command
from acclimate.cli.verdicts import show_commands
from acclimate.counting import counted
from acclimate.options import parse_assignments

FIGURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "mean_average_precision": "mean AP"}

Labelled = Annotated[
    list[Path],
    typer.Argument(metavar="DATA...", help="Labelled images, as adapt reads them; one or several sets."),
]
From = Annotated[
    str,
    typer.Option(
        "--from", metavar="ID|DIR", help="Vision encoder to begin with; of a dual encoder, its image tower.",
        rich_help_panel=opt.MODEL,
    ),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="A setting of the training, see fine-tune; repeatable.",
        rich_help_panel=opt.LEARNING,
    ),
]  # fmt: skip
Epochs = Annotated[
    int | None,
    typer.Option(help="Passes over the images, by default by their number.", rich_help_panel=opt.LEARNING),
]
Rate = Annotated[float | None, typer.Option(help="Learning rate of the head.", rich_help_panel=opt.LEARNING)]
Domain = Annotated[
    str | None, typer.Option(help="Says whether mirror images keep their meaning.", rich_help_panel=opt.LEARNING)
]
Shots = Annotated[
    str, typer.Option(help="Training images per class, or all; budget:64 for 64 in all.", rich_help_panel=opt.LEARNING)
]


def classifier(
    context: typer.Context,
    data: Labelled,
    out: Annotated[
        Path, typer.Option(help="Folder for the encoder; a killed run goes on there.", rich_help_panel=opt.OUTPUT)
    ],
    encoder: From = "mini-clip",
    shots: Shots = "all",
    seed: opt.Seed = 1,
    epochs: Epochs = None,
    lr: Rate = None,
    set_: Settings = None,
    multi_label: opt.MultiLabel = False,
    domain: Domain = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the encoder that is in --out.", rich_help_panel=opt.OUTPUT)
    ] = False,
    layout: opt.Layout = "auto",
    images_root: opt.ImagesRoot = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    on_corrupt: opt.Corrupt = opt.OnCorrupt.error,
    device: opt.DeviceOption = opt.Device.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Fine-tune a vision encoder on the labels of DATA; it serves as --domain-encoder."""
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.data import load_data
    from acclimate.runs.classifiers import pretrain_classifier

    how = meanings.reading(layout, images_root, split_seed, split_rule, split_from, on_corrupt)
    images = [load_data(path, **how, allow_one_class=multi_label) for path in data]
    settings: dict[str, Any] = dict(parse_assignments(set_ or ()))
    settings |= {name: value for name, value in (("epochs", epochs), ("lr", lr)) if value is not None}
    told: dict[str, Any] = {"encoder": encoder, "shots": shots, "domain": domain, "seed": seed, "settings": settings}
    told |= {"multi_label": multi_label, "overwrite": overwrite, "device": device.value, "precision": precision.value}
    with Progress(quiet) as progress:
        record = pretrain_classifier(images, out, progress=progress, **told)
    if as_json:
        tables.print_json(record)
        return
    _show(record, out)
    words = ("--method", "vitask", "--domain-encoder", out)
    if multi_label:  # no method learns from several labels of an image
        show_commands(next_command(context, "adapt", "LABELLED_IMAGES", *words))
    else:
        show_commands(*(next_command(context, "adapt", path, *words, same_data=True) for path in data))


def _show(record: dict[str, Any], out: Path) -> None:
    """Show what was made, and what it is worth alone."""
    weights, cost, kept = sum(record["parameters"].values()), record["cost"]["seconds"], record["kept_epoch"]
    chosen = "" if kept is None else f", of which {kept + 1} was the best on validation images"
    console.tell(
        console.out,
        f"{record['data']['images']} images, {counted(record['settings']['epochs'], 'epoch')}{chosen}; "
        f"{cost['total']:.0f} s, {weights / 1e6:.1f} million weights",
    )
    for name in record["data"]["sets"]:
        for part in ("validation", "tests"):
            if (found := record[part][name]) is not None:
                figures = [
                    f"{title} {100 * found[figure]['value']:.1f} %"
                    for figure, title in FIGURES.items()
                    if found.get(figure, {"value": None})["value"] is not None
                ]
                images = f"{found['samples']} {part.removesuffix('s')} images"
                console.tell(console.out, f"{name}, {images}: {', '.join(figures)}")
    console.out.print()
    console.tell(console.out, f"The encoder is in {out}. Next:")
