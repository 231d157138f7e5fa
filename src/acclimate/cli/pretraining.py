"""`pretrain mae`: a domain encoder from images without labels."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli import console, meanings, tables
from acclimate.cli import options as opt
from acclimate.cli.retelling import next_command
from acclimate.cli.verdicts import show_commands

TOO_HIGH = 0.95  # loss of a masked autoencoder; 1 is that of the mean of each patch


class Size(StrEnum):
    """Sizes of a masked autoencoder."""

    tiny = "tiny"
    small = "small"
    base = "base"


class Split(StrEnum):
    """Which images of data with a split are learned from."""

    train = "train"
    train_val = "train+val"
    all = "all"


Images = Annotated[
    Path, typer.Argument(metavar="DATA", help="Images: a folder, a quoted pattern, or anything that adapt reads.")
]
ImageSize = Annotated[int | None, typer.Option(help="Side of an image in pixels: 64, or 224 for small and base.")]
PatchSize = Annotated[int | None, typer.Option(help="Side of a patch in pixels: 8, or 16 for small and base.")]
Epochs = Annotated[
    int | None,
    typer.Option(help="Passes, by default as many as show 200,000 images; 0 saves random features as a control."),
]


def mae(
    context: typer.Context,
    data: Images,
    out: Annotated[Path, typer.Option(help="Folder for the encoder; a killed run goes on there.")],
    size: Annotated[Size, typer.Option(help="Width and depth: 2.7, 21 or 86 million weights.")] = Size.tiny,
    image_size: ImageSize = None,
    patch_size: PatchSize = None,
    mask_ratio: Annotated[float, typer.Option(help="Share of the patches that is hidden.")] = 0.75,
    epochs: Epochs = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step, by default 32.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate, by default 3e-4 or more.")] = None,
    split: Annotated[Split, typer.Option(help="Images to learn from, where the data have a split.")] = Split.train,
    seed: Annotated[int, typer.Option(help="Seed of weights, views and masks.")] = 1,
    domain: Annotated[str | None, typer.Option(help="Says whether mirror images keep their meaning.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the encoder that is in --out.")] = False,
    layout: Annotated[str, typer.Option(help="Meaning of the folders; plain: none.")] = "auto",
    images_root: opt.ImagesRoot = None,
    split_seed: opt.SplitSeed = 0,
    split_rule: opt.SplitRuleOption = opt.SplitRule.stable,
    split_from: opt.SplitFrom = None,
    on_corrupt: opt.Corrupt = opt.OnCorrupt.error,
    device: opt.DeviceOption = opt.Device.auto,
    precision: Annotated[opt.Precision, typer.Option(help="Number format of a step.")] = opt.Precision.auto,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Train a masked autoencoder on DATA; its encoder serves as --domain-encoder."""
    console.show_notes(quiet)
    from acclimate.cli.progress import Progress
    from acclimate.data.unlabelled import load_unlabelled
    from acclimate.runs.pretraining import pretrain_mae

    how = meanings.reading(layout, images_root, split_seed, split_rule, split_from, on_corrupt)
    images = load_unlabelled(data, **how)
    given = {"image_size": image_size, "patch_size": patch_size, "epochs": epochs, "batch_size": batch_size, "lr": lr}
    settings: dict[str, Any] = {"size": size.value, "mask_ratio": mask_ratio}
    settings |= {name: value for name, value in given.items() if value is not None}
    told: dict[str, Any] = {"domain": domain, "seed": seed, "overwrite": overwrite, "split": split.value}
    told |= {"device": device.value, "precision": precision.value}
    with Progress(quiet) as progress:
        record = pretrain_mae(images, out, settings=settings, progress=progress, **told)
    if as_json:
        tables.print_json(record)
        return
    _show(record, out)
    words = ("--method", "gdpl", "--domain-encoder", out)
    if record["data"]["part"] != "all" and len(images.class_names) > 1:
        command = next_command(context, "adapt", data, *words, same_data=True)
    else:  # without labels there is nothing to adapt to, and what it has seen may not be tested on
        console.tell(console.out, "LABELLED_IMAGES: others, as it has learned from all of these", "note")
        command = next_command(context, "adapt", "LABELLED_IMAGES", *words)
    show_commands(command)


def _show(record: dict[str, Any], out: Path) -> None:
    """Show what was made."""
    facts, cost = record["parameters"], record["cost"]["seconds"]
    losses = [
        f"{name.replace('_', '-')} loss {value:.3f}" for name, value in record["loss"].items() if value is not None
    ]
    console.tell(
        console.out,
        f"{record['data']['images']} images, {record['settings']['epochs']} epochs, {cost['total']:.0f} s, "
        f"{facts['encoder'] / 1e6:.1f} million weights{''.join(f'; {loss}' for loss in losses)}",
    )
    reached = next((value for value in reversed(record["loss"].values()) if value is not None), None)
    if record["settings"]["epochs"] and reached is not None and reached > TOO_HIGH:
        console.tell(
            console.out,
            f"warning: a loss of {reached:.3f} is not well below 1, what guessing the mean of each patch costs: "
            "too few steps; give more --epochs or a smaller --batch-size",
            "warning",
        )
    console.out.print()
    console.tell(console.out, f"The encoder is in {out}; look at reconstructions.png. Next:")
