"""One CoOp training step: this package against the plain way, in one interleaved run.

The plain way is that of the released trainers: in every step the frozen image tower runs on the batch, and the text
tower on every class, padded to the full context length, through the Hugging Face layers. Ours runs the same weights,
the same batch and the same start, and must give the same losses at every step of SGD:

- cached: image features come from the cache, as where the training images have fixed views;
- live: the image tower runs in the step, as where every step draws fresh views (augment with views=0).

Evaluation is compared as well: four batches of images, where the plain way encodes the classes for each batch.

    python benchmarks/coop_step.py --out results/coop_step.json
    python benchmarks/coop_step.py --quick
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.families import ClipFamily
from acclimate.methods.contract import Method
from acclimate.methods.coop import CoOp, CoOpConfig
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from measuring import StepCase, command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import CONTEXT, GEOMETRIES, MINI_CLIP, TOKENS, Plain, class_words

VISION = {
    "mini-clip": {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "image_size": 96},
    "ViT-B/16": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224},
}
WAYS = ("plain", "live", "cached")
BATCH = 32
EVALUATION_BATCHES = 4
TOLERANCE = 1e-4  # of losses and logits, relative
PLAIN_LIMIT = {"mini-clip": 1000, "ViT-B/16": 500}  # classes; the plain step keeps 25.5 MiB a class on ViT-B/16


def build(geometry: str) -> tuple[DualEncoder, Any]:
    """A backbone with random weights in both towers, and the Hugging Face model that holds them."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    text = {**GEOMETRIES[geometry], **TOKENS}
    text["intermediate_size"] = 4 * text["hidden_size"]
    vision = {**VISION[geometry], "patch_size": 16}
    vision["intermediate_size"] = 4 * vision["hidden_size"]
    width = 256 if geometry == "mini-clip" else 512
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=width)
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(MINI_CLIP)
    return DualEncoder(geometry, ClipFamily(model), tokenizer), model


class Case(StepCase):
    """One geometry and number of classes, and the three ways to make a step."""

    lr = 2e-3
    batches = EVALUATION_BATCHES

    def __init__(self, geometry: str, classes: int) -> None:
        self.backbone, self.model = build(geometry)
        self.words = class_words(classes)
        names = self.backbone.class_tokens(self.words)
        self.plain = Plain(self.model, names, self.backbone.tokenizer.lead[0], self.backbone.tokenizer.pad)
        side = self.model.config.vision_config.image_size
        self.pixels = torch.randn(BATCH, 3, side, side)
        self.labels = torch.randint(0, classes, (BATCH,))
        self.features = self.backbone.encode_image(self.pixels)
        self.classes = classes

    def make(self) -> CoOp:
        """CoOp as it starts."""
        torch.manual_seed(1)
        method = CoOp(self.backbone, CoOpConfig(), PromptSet("natural", overrides={w: w for w in self.words}))
        method.bind(self.words)
        return method

    def logits(self, way: str, method: Method) -> Tensor:
        """Return the logits (B, C) of the batch."""
        assert isinstance(method, CoOp)
        if way == "plain":
            image = self.model.vision_model(self.pixels).pooler_output
            image = F.normalize(self.model.visual_projection(image), dim=-1)
            words = F.normalize(self.plain.features(method.context, slice(None)), dim=-1)
            return self.backbone.logit_scale * image @ words.T
        features = self.features if way == "cached" else self.backbone.encode_image(self.pixels)
        return method.logits(Batch(image_features=features))

    def ways(self) -> tuple[str, ...]:
        """Return the ways that fit into 24 GB of memory."""
        return WAYS if self.classes <= PLAIN_LIMIT[self.backbone.name] else WAYS[1:]


def call_of(geometry: str, classes: str, way: str) -> Callable[[], float]:
    """Return a step of a case of its own."""
    return Case(geometry, int(classes)).trainer(way)


def run(geometry: str, classes: int, quick: bool) -> dict[str, Any]:
    """Check and measure one case."""
    case = Case(geometry, classes)
    repeats = 3 if quick or geometry == "ViT-B/16" else 7
    row: dict[str, Any] = {"geometry": geometry, "classes": classes}
    for what, make in (("step", case.trainer), ("evaluation", case.predictor)):
        seconds, results, _ = in_turns({way: make(way) for way in case.ways()}, repeats, TOLERANCE)
        if what == "step":
            row |= {"losses": results, "repeats": repeats}
        row[what] = {"cpu_seconds": seconds}
        if "plain" in seconds:
            row[what]["faster"] = {way: seconds["plain"] / seconds[way] for way in WAYS[1:]}
    row["peak_mib"] = {}
    if not quick:
        row["peak_mib"] = {way: peak_in_fresh_process(__file__, geometry, classes, way) for way in case.ways()}
    return row


def show(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cells = [f"{row['geometry']:>9} {row['classes']:>5}"]
    for what in ("step", "evaluation"):
        for way in WAYS:
            seconds = row[what]["cpu_seconds"].get(way)
            faster = row[what].get("faster", {}).get(way)
            text = "-" if seconds is None else f"{seconds:.3f}" + (f" ({faster:.1f}x)" if faster else "")
            cells.append(f"{text:>16}")
    cells.append(" / ".join(f"{value:.0f}" for value in row["peak_mib"].values()))
    print(" ".join(cells), flush=True)


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "10 and 100 classes, three repeats, no memory", call_of)
    heads = [f"{what} {way}" for what in ("step", "eval") for way in WAYS]
    print(f"{'geometry':>9} {'cls':>5} " + " ".join(f"{head:>16}" for head in heads) + " peak MiB of a step")
    rows = []
    for geometry, classes in itertools.product(GEOMETRIES, (10, 100) if options.quick else (10, 100, 1000)):
        rows.append(run(geometry, classes, options.quick))
        show(rows[-1])
    if options.out:
        what = (
            f"medians of CPU seconds; batch {BATCH}, {CONTEXT} context vectors, class at the end, fp32; "
            f"evaluation is {EVALUATION_BATCHES} batches; peak is what one step adds to a fresh process"
        )
        write_record(options.out, options.command, what, rows)


if __name__ == "__main__":
    main()
