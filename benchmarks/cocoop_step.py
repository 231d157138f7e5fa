"""One CoCoOp training step: this package against the plain way, in one interleaved run.

Every image has prompts of its own, so a step is images x classes through the text tower. All ways run the same weights,
the same batch and the same start, and must give the same losses at every step of SGD:

- published: as the released trainer does it. The frozen image tower runs on the batch, and a Python loop over the
  images runs the text tower on every class, padded to the full context length, through the Hugging Face layers;
- loop: the same text side, but image features come from a cache;
- live: ours, where the image tower runs in the step because every step draws fresh views (augment with views=0);
- cached: ours, image features from the cache. One pass of the text tower for the whole batch: [SOS] and context once an
  image, the words of the class for every pair.

Evaluation (without gradients) is compared as well, on the same batch.

    python benchmarks/cocoop_step.py --out results/cocoop_step.json
    python benchmarks/cocoop_step.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.cocoop import CoCoOp, CoCoOpConfig
from acclimate.methods.contract import Method
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from coop_step import build
from measuring import StepCase, command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import Plain, class_words

WAYS = ("published", "loop", "live", "cached")
PLAIN = ("published", "loop")
SIZES = [(1, 10), (1, 100), (8, 10), (8, 30), (8, 100)]  # images, classes
TOLERANCE = 1e-4  # of losses and logits, relative
PLAIN_LIMIT = {"mini-clip": 800, "ViT-B/16": 240}  # prompts; each takes about 35 MiB in a step on ViT-B/16


class Case(StepCase):
    """One geometry, batch and number of classes, and the ways to make a step."""

    lr = 2e-3

    def __init__(self, geometry: str, images: int, classes: int) -> None:
        self.backbone, self.model = build(geometry)
        self.words = class_words(classes)
        self.names, context = self.backbone.class_tokens(self.words), len(self.make().context)
        lead, pad = self.backbone.tokenizer.lead[0], self.backbone.tokenizer.pad
        self.plain = Plain(self.model, self.names, lead, pad, context)
        side = self.model.config.vision_config.image_size
        self.pixels = torch.randn(images, 3, side, side)
        self.labels = torch.randint(0, classes, (images,))
        self.features = self.backbone.encode_image(self.pixels)
        self.images, self.classes = images, classes
        self.context_tokens = context

    def make(self) -> CoCoOp:
        """CoCoOp as it starts."""
        torch.manual_seed(1)
        prompts = PromptSet("natural", overrides={word: word for word in self.words})
        method = CoCoOp(self.backbone, CoCoOpConfig(), prompts)
        method.bind(self.words)
        return method

    def logits(self, way: str, method: Method) -> Tensor:
        """Return the logits (B, C) of the batch."""
        assert isinstance(method, CoCoOp)
        if way not in PLAIN:
            features = self.features if way == "cached" else self.backbone.encode_image(self.pixels)
            return method.logits(Batch(image_features=features))
        features = self.features
        if way == "published":
            features = self.model.visual_projection(self.model.vision_model(self.pixels).pooler_output)
        features = F.normalize(features, dim=-1)
        rows = []
        for image, token in zip(features, method.meta_net(features), strict=True):
            words = F.normalize(self.plain.features(method.context + token, slice(None)), dim=-1)
            rows.append(self.backbone.logit_scale * image @ words.T)
        return torch.stack(rows)

    def tokens(self) -> dict[str, int]:
        """Tokens that run through the text tower in a step."""
        ours = self.images * (1 + self.context_tokens + sum(self.names.lengths))
        return {"plain": self.images * self.classes * self.backbone.context_length, "ours": ours}

    def ways(self) -> tuple[str, ...]:
        """Return the ways whose memory is bounded as the head of this file says."""
        return WAYS if self.images * self.classes <= PLAIN_LIMIT[self.backbone.name] else ("live", "cached")


def call_of(geometry: str, images: str, classes: str, way: str) -> Callable[[], float]:
    """Return a step of a case of its own."""
    return Case(geometry, int(images), int(classes)).trainer(way)


def run(geometry: str, images: int, classes: int, quick: bool) -> dict[str, Any]:
    """Check and measure one case."""
    case = Case(geometry, images, classes)
    repeats = 3 if quick or geometry == "ViT-B/16" else 7
    row: dict[str, Any] = {"geometry": geometry, "images": images, "classes": classes, "tokens": case.tokens()}
    for what, make in (("step", case.trainer), ("evaluation", case.predictor)):
        seconds, results, _ = in_turns({way: make(way) for way in case.ways()}, repeats, TOLERANCE)
        if what == "step":
            row |= {"losses": results, "repeats": repeats}
        row[what] = {"cpu_seconds": seconds}
        if "loop" in seconds:
            faster = {
                "cached": seconds["published"] / seconds["cached"],
                "live": seconds["published"] / seconds["live"],
            }
            row[what]["faster"] = {**faster, "text_only": seconds["loop"] / seconds["cached"]}
    row["peak_mib"] = {}
    if not quick:
        row["peak_mib"] = {way: peak_in_fresh_process(__file__, geometry, images, classes, way) for way in case.ways()}
    return row


def memory_per_class(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """MiB that one more class adds to a step: the slope from the fewest to the most classes of a geometry and batch."""
    found = []
    for geometry, images in dict.fromkeys((row["geometry"], row["images"]) for row in rows):
        some = [row for row in rows if (row["geometry"], row["images"]) == (geometry, images)]
        slopes = {}
        for way in WAYS:
            points = [(row["classes"], row["peak_mib"][way]) for row in some if way in row["peak_mib"]]
            if len(points) > 1:
                (fewest, low), (most, high) = points[0], points[-1]
                slopes[way] = (high - low) / (most - fewest)
        found.append({"geometry": geometry, "images": images, "mib_per_class": slopes})
    return found


def show(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cells = [f"{row['geometry']:>9} {row['images']:>6} {row['classes']:>7}"]
    for what in ("step", "evaluation"):
        seconds, faster = row[what]["cpu_seconds"], row[what].get("faster", {})
        cells += [f"{seconds[way]:.3f}".rjust(9) if way in seconds else "-".rjust(9) for way in WAYS]
        cells += [f"{faster[key]:.1f}x".rjust(7) if faster else "-".rjust(7) for key in ("cached", "text_only")]
    cells.append(" / ".join(f"{value:.0f}" for value in row["peak_mib"].values()))
    print(" ".join(cells), flush=True)


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "8 images, 10 classes, three repeats, no memory", call_of)
    heads = [" ".join(f"{way:>9}" for way in WAYS) + "  faster  (text)" for _ in ("step", "evaluation")]
    print(f"{'geometry':>9} {'images':>6} {'classes':>7} {heads[0]} {heads[1]} peak MiB of a step")
    rows = []
    for geometry in PLAIN_LIMIT:
        for images, classes in [(8, 10)] if options.quick else SIZES:
            rows.append(run(geometry, images, classes, options.quick))
            show(rows[-1])
    if options.out:
        what = (
            "medians of CPU seconds, first of a training step, then of an evaluation of the same batch; 4 context "
            "vectors, fp32; faster: published way / cached, published way / live, and text_only: loop / cached, where "
            "both have cached features; peak is what one step adds to a fresh process"
        )
        write_record(options.out, options.command, what, rows, memory_per_class=memory_per_class(rows))


if __name__ == "__main__":
    main()
