"""Options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OnCorrupt(StrEnum):
    """What to do with images that cannot be read."""

    error = "error"
    skip = "skip"


class SplitRule(StrEnum):
    """How a split is made, where the data give none."""

    stable = "stable"
    greedy = "greedy"


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class Precision(StrEnum):
    """Number format of a training step, or of a prediction; cached features and evaluation are always fp32."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class TrackerName(StrEnum):
    """What shows losses and figures as they come."""

    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"


# Groups of `--help`.
MODEL = "Method and models"
LEARNING = "Learning"
DATA = "Data"
OUTPUT = "Output"
MACHINE = "Machine"

DataPath = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder of images, a CSV, JSONL or Parquet table, or .tar shards.")
]
SeveralData = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA...", help="Folder of images, a CSV, JSONL or Parquet table, or .tar shards; several: together."
    ),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder written by `acclimate adapt`, or hf:OWNER/NAME.")]
SavedBackbone = Annotated[
    str | None,
    typer.Option(
        "--backbone", metavar="ID|DIR", help="Where the backbone is, if not where it was.", rich_help_panel=MODEL
    ),
]
DomainEncoder = Annotated[
    str | None,
    typer.Option(
        "--domain-encoder",
        metavar="ID|DIR|self",
        help="Frozen vision encoder of the domain, for methods that read one; self: the backbone's image features.",
        rich_help_panel=MODEL,
    ),
]
SavedDomainEncoder = Annotated[
    str | None,
    typer.Option(
        "--domain-encoder",
        metavar="ID|DIR",
        help="Where the domain encoder is, if not where it was; none: do without, where the method can.",
        rich_help_panel=MODEL,
    ),
]
Swap = Annotated[
    bool,
    typer.Option(
        "--swap", help="Take --domain-encoder in place of that of the run, where it fits.", rich_help_panel=MODEL
    ),
]
ClassesOf = Annotated[
    str | None,
    typer.Option(
        "--classes-of",
        metavar="NAME",
        help="Tell apart the classes of one of the DATA of the run alone.",
        rich_help_panel=MODEL,
    ),
]
Coverage = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Add sets of classes that hold the right one for this share of images, such as 0.9; probabilities are "
        "tempered.",
        rich_help_panel=OUTPUT,
    ),
]
Known = Annotated[
    float,
    typer.Option(
        metavar="P", help="Images with a smaller p-value are called unknown; 0: leave it out.", rich_help_panel=OUTPUT
    ),
]
AdaptToFolder = Annotated[
    bool,
    typer.Option(
        "--adapt-to-folder",
        help="Label all images together (StatA): each label depends on the others, which can help or harm.",
        rich_help_panel=MODEL,
    ),
]
Hierarchy = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Tree of the classes (CSV child,parent, or YAML): the deepest node whose classes together reach --floor.",
        rich_help_panel=OUTPUT,
    ),
]
Floor = Annotated[
    float,
    typer.Option(metavar="SHARE", help="Sum of probabilities that --hierarchy asks for.", rich_help_panel=OUTPUT),
]
MethodName = Annotated[str, typer.Option(help="Method, see `acclimate methods`.", rich_help_panel=MODEL)]
Backbone = Annotated[
    str | None,
    typer.Option(
        metavar="ID|DIR",
        help="Hub id, local folder or catalogue name; by default the embedded one that the method adapts: mini-clip, "
        "mini-vlm or both.",
        rich_help_panel=MODEL,
    ),
]
Scorer = Annotated[
    str | None,
    typer.Option(
        metavar="ID|DIR",
        help="Dual encoder that judges written captions by CLIPScore and RefCLIPScore, such as mini-clip.",
        rich_help_panel=MODEL,
    ),
]
LanguageModel = Annotated[
    str | None,
    typer.Option(
        metavar="ID|DIR",
        help="Causal language model, or a LLaVA that has one: composed with the backbone, a dual encoder, for methods "
        "such as limber.",
        rich_help_panel=MODEL,
    ),
]
ReferencePrompts = Annotated[
    Path | None,
    typer.Option(
        help="Sentences that describe each class (JSON, YAML or CSV), for methods that learn from them.",
        rich_help_panel=MODEL,
    ),
]
Start = Annotated[
    Path | None,
    typer.Option(
        help="Earlier run of the same method and backbone, from which learning goes on.", rich_help_panel=LEARNING
    ),
]
LookAt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="IMAGE",
        help="Training image whose reading of reference prompts is shown; repeatable.",
        rich_help_panel=MODEL,
    ),
]
Shots = Annotated[
    str, typer.Option(help="Training images per class, or all; budget:64 for 64 in all.", rich_help_panel=LEARNING)
]
Seed = Annotated[
    int, typer.Option(help="Seed of the shots, the initial values and the training.", rich_help_panel=LEARNING)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; repeatable.", rich_help_panel=LEARNING),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time in which auto may train further parts, such as 10m; by default it has closed-form parts alone.",
        rich_help_panel=LEARNING,
    ),
]
RunFolder = Annotated[Path | None, typer.Option(help="Run folder; a killed run goes on there.", rich_help_panel=OUTPUT)]
Track = Annotated[
    TrackerName | None,
    typer.Option(
        help="Show losses and figures as they come; tensorboard writes into the run folder.", rich_help_panel=OUTPUT
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the run that is in --out.", rich_help_panel=OUTPUT)
]
PromptDomain = Annotated[
    str | None,
    typer.Option(
        metavar="DOMAIN|NAME=DOMAIN,...",
        help="Domain of the prompt templates, of several DATA by name; guessed and shown if not given.",
        rich_help_panel=MODEL,
    ),
]
Names = Annotated[
    Path | None, typer.Option(help="File with words for class names (CSV, JSON or YAML).", rich_help_panel=MODEL)
]
PrecisionOption = Annotated[Precision, typer.Option(help="Number format of a training step.", rich_help_panel=MACHINE)]
PredictionPrecision = Annotated[
    Precision,
    typer.Option(help="Number format of products; auto: bf16 on a GPU that has it.", rich_help_panel=MACHINE),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute.", rich_help_panel=MACHINE)]
Layout = Annotated[
    str, typer.Option(help="Meaning of the folders, such as class, split/class or domain/class.", rich_help_panel=DATA)
]
ImagesRoot = Annotated[
    Path | None, typer.Option(help="Folder that a manifest's paths are relative to.", rich_help_panel=DATA)
]
MultiLabel = Annotated[
    bool,
    typer.Option("--multi-label", help="Images may have several labels, with | between.", rich_help_panel=DATA),
]
Bands = Annotated[
    str | None,
    typer.Option(
        metavar="4,3,2",
        help="Bands of each image that are shown as red, green and blue, from 1; one: as grey.",
        rich_help_panel=DATA,
    ),
]
SavedBands = Annotated[
    str | None,
    typer.Option(
        metavar="4,3,2", help="Bands of the images, where they are others than the run's.", rich_help_panel=DATA
    ),
]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split, where the data have none.", rich_help_panel=DATA)]
SplitRuleOption = Annotated[
    SplitRule,
    typer.Option(
        "--split-rule", help="How the split is made; greedy: as earlier releases made it.", rich_help_panel=DATA
    ),
]
SplitFrom = Annotated[
    Path | None,
    typer.Option(
        metavar="RUN|FILE",
        help="Run, or its splits.json, whose split is kept; only new images are placed.",
        rich_help_panel=DATA,
    ),
]
Corrupt = Annotated[
    OnCorrupt,
    typer.Option(help="Stop at an image that cannot be read, or leave it out and count it.", rich_help_panel=DATA),
]
Template = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT", help="Sentence in place of the domain's, {} for the class; repeatable.", rich_help_panel=MODEL
    ),
]
Templates = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File of such sentences: one a line, or a list in YAML or JSON.",
        rich_help_panel=MODEL,
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE",
        help="Module or .py file with methods of your own; repeatable.",
        rich_help_panel=MODEL,
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Compute image features anew.", rich_help_panel=MACHINE)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no notes, warnings only.", rich_help_panel=OUTPUT)
]
