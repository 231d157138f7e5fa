"""Options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from acclimate.data import CaptionData, ImageData


class OnCorrupt(StrEnum):
    """What to do with images that cannot be read."""

    error = "error"
    skip = "skip"


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Precision(StrEnum):
    """Number format of a training step; features and evaluation are always fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


DataPath = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of images, or a CSV, JSONL or Parquet table.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `acclimate adapt`.")]
SavedBackbone = Annotated[
    str | None, typer.Option("--backbone", metavar="ID|DIR", help="Where the backbone is, if not where it was.")
]
DomainEncoder = Annotated[
    str | None,
    typer.Option(
        "--domain-encoder",
        metavar="ID|DIR|self",
        help="Frozen vision encoder of the domain, for methods that read one; self: the backbone's image features.",
    ),
]
SavedDomainEncoder = Annotated[
    str | None,
    typer.Option("--domain-encoder", metavar="ID|DIR", help="Where the domain encoder is, if not where it was."),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute.")]
Layout = Annotated[str, typer.Option(help="Meaning of the folders, such as class, split/class or domain/class.")]
ImagesRoot = Annotated[Path | None, typer.Option(help="Folder that a manifest's paths are relative to.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split, where the data have none.")]
Corrupt = Annotated[OnCorrupt, typer.Option(help="Stop at an image that cannot be read, or leave it out and count it.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compute image features anew.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes, warnings only.")]


def load_images(
    path: Path,
    layout: str,
    images_root: Path | None,
    split_seed: int,
    on_corrupt: OnCorrupt = OnCorrupt.error,
    allow_one_class: bool = False,
) -> ImageData:
    """Load DATA as the options say."""
    from acclimate.data import load_data

    return load_data(
        path,
        layout=layout,
        images_root=images_root,
        split_seed=split_seed,
        on_corrupt=on_corrupt.value,
        allow_one_class=allow_one_class,
    )


def load_captions_or_images(
    path: Path,
    layout: str,
    images_root: Path | None,
    split_seed: int,
    on_corrupt: OnCorrupt = OnCorrupt.error,
    allow_one_class: bool = False,
) -> CaptionData | ImageData:
    """Load DATA as the options say: images with captions where it has a table of captions, else labelled images."""
    from acclimate.data import find_captions, load_captions

    if layout == "auto" and find_captions(path) is not None:
        return load_captions(path, images_root=images_root, split_seed=split_seed, on_corrupt=on_corrupt.value)
    return load_images(path, layout, images_root, split_seed, on_corrupt, allow_one_class)


def feature_cache(no_cache: bool) -> Path | None:
    """Return the folder of the feature cache, or none."""
    from acclimate.data.cache import default_cache_dir

    return None if no_cache else default_cache_dir() / "features"
