"""One CoOp training step: this package against the plain way, in one interleaved run.

The plain way is that of the released trainers: in every step the frozen image tower runs on the batch, and the text
tower on every class, padded to the full context length, through the Hugging Face layers. Ours runs the same weights,
the same batch and the same start, and must give the same losses over two steps of SGD:

- cached: image features come from the cache, as where the training images have fixed views;
- live: the image tower runs in the step, as where every step draws fresh views (augment with views=0).

Evaluation is compared as well: four batches of images, where the plain way encodes the classes for each batch.

    python benchmarks/coop_step.py --out results/coop_step.json
    python benchmarks/coop_step.py --quick
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.families import ClipFamily
from acclimate.data.batch import Batch
from acclimate.methods.coop import CoOp, CoOpConfig
from acclimate.prompts import PromptSet
from measuring import added_memory, peak_in_fresh_process, write_record
from text_tower import CONTEXT, GEOMETRIES, MINI_CLIP, TOKENS, Plain, class_words

VISION = {
    "mini-clip": {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "image_size": 96},
    "ViT-B/16": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224},
}
WAYS = ("plain", "live", "cached")
BATCH = 32
EVALUATION_BATCHES = 4
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


class Case:
    """One geometry and number of classes, and the three ways to make a step."""

    def __init__(self, geometry: str, classes: int) -> None:
        self.backbone, self.model = build(geometry)
        words = class_words(classes)
        self.method = CoOp(self.backbone, CoOpConfig(), PromptSet("natural", overrides={w: w for w in words}))
        self.method.bind(words)
        names = self.backbone.class_tokens(words)
        self.plain = Plain(self.model, names, self.backbone.tokenizer.lead[0], self.backbone.tokenizer.pad)
        side = self.model.config.vision_config.image_size
        self.pixels = torch.randn(BATCH, 3, side, side)
        self.labels = torch.randint(0, classes, (BATCH,))
        self.features = self.backbone.encode_image(self.pixels)
        self.start = self.method.context.detach().clone()
        self.classes = classes

    def logits(self, way: str) -> Tensor:
        """(B, C) of the batch."""
        if way == "plain":
            image = self.model.vision_model(self.pixels).pooler_output
            image = F.normalize(self.model.visual_projection(image), dim=-1)
            words = F.normalize(self.plain.features(self.method.context, slice(None)), dim=-1)
            return self.backbone.logit_scale * image @ words.T
        features = self.features if way == "cached" else self.backbone.encode_image(self.pixels)
        return self.method.logits(Batch(image_features=features))

    def step(self, way: str, optimizer: torch.optim.Optimizer) -> float:
        """One step of training; returns the loss."""
        loss = F.cross_entropy(self.logits(way), self.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    def prepare(self) -> torch.optim.Optimizer:
        """Put the context back to its start and return its optimiser."""
        self.method.train()
        with torch.no_grad():
            self.method.context.copy_(self.start)
        return torch.optim.SGD(self.method.parameters(), lr=2e-3, momentum=0.9, weight_decay=5e-4)

    def losses(self, way: str, steps: int = 2) -> list[float]:
        """Losses of the first steps."""
        optimizer = self.prepare()
        return [self.step(way, optimizer) for _ in range(steps)]

    @torch.no_grad()
    def evaluate(self, way: str) -> None:
        """Classify a few batches."""
        self.method.eval()
        for _ in range(EVALUATION_BATCHES):
            self.logits(way)

    def ways(self) -> tuple[str, ...]:
        """Return the ways that fit into 24 GB of memory."""
        return WAYS if self.classes <= PLAIN_LIMIT[self.backbone.name] else WAYS[1:]


def measure(case: Case, what: str, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each way, taken in turns."""
    times: dict[str, list[float]] = {way: [] for way in case.ways()}
    optimizer = case.prepare()
    for _ in range(repeats):
        for way, taken in times.items():
            case.method.train(what == "step")
            started = time.process_time()
            if what == "step":
                case.step(way, optimizer)
            else:
                case.evaluate(way)
            taken.append(time.process_time() - started)
    return {way: statistics.median(taken) for way, taken in times.items()}


def run(geometry: str, classes: int, quick: bool) -> dict[str, Any]:
    """Check and measure one case."""
    case = Case(geometry, classes)
    losses = {way: case.losses(way) for way in case.ways()}
    reference = losses[case.ways()[0]]
    worst = max(abs(a - b) / abs(b) for values in losses.values() for a, b in zip(values, reference, strict=True))
    if worst > 1e-4:
        raise SystemExit(f"{geometry}, {classes} classes: losses differ by {worst:.1e}: {losses}")
    repeats = 3 if quick or geometry == "ViT-B/16" else 7
    row: dict[str, Any] = {"geometry": geometry, "classes": classes, "losses": losses, "repeats": repeats}
    for what in ("step", "evaluation"):
        seconds = measure(case, what, repeats)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 and 100 classes, three repeats, no memory")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of torch; with more, waiting threads count as CPU time"
    )
    parser.add_argument("--out", type=Path, help="JSON record to write")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak:
        geometry, count, way = options.peak
        case = Case(geometry, int(count))
        optimizer = case.prepare()
        print(added_memory(lambda: case.step(way, optimizer)))
        return
    heads = [f"{what} {way}" for what in ("step", "eval") for way in WAYS]
    print(f"{'geometry':>9} {'cls':>5} " + " ".join(f"{head:>16}" for head in heads) + " peak MiB of a step")
    rows = []
    for geometry, classes in itertools.product(GEOMETRIES, (10, 100) if options.quick else (10, 100, 1000)):
        rows.append(run(geometry, classes, options.quick))
        show(rows[-1])
    if options.out:
        command = f"python benchmarks/coop_step.py --threads {options.threads}" + " --quick" * options.quick
        what = (
            f"medians of CPU seconds; batch {BATCH}, {CONTEXT} context vectors, class at the end, fp32; "
            f"evaluation is {EVALUATION_BATCHES} batches; peak is what one step adds to a fresh process"
        )
        write_record(options.out, command, what, rows)


if __name__ == "__main__":
    main()
