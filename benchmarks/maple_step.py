"""One MaPLe training step: this package against the plain way, in one interleaved run.

The plain way is that of the released trainer: in every step the image tower runs on the batch with prompts behind the
patches, and the text tower on every class, padded to the full context length, with prompts behind [SOS]; both through
the Hugging Face layers, with gradients, the prompts overwritten layer by layer. Ours runs the same weights, the same
batch and the same start, and must give the same losses at every step of SGD. What it saves is text: the beginning that
all classes share runs once, and of a class only its own words. The image tower does the same work in both.

    python benchmarks/maple_step.py --out results/maple_step.json
    python benchmarks/maple_step.py --quick
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.contract import Method
from acclimate.methods.maple import MaPLe, MaPLeConfig
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from coop_step import build
from measuring import StepCase, command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import GEOMETRIES, Plain, class_words

WAYS = ("plain", "ours")
BATCH = 4
CLASSES = (10, 30, 100)
TOLERANCE = 1e-4  # of the losses, relative


class DeepPlain(Plain):
    """Both towers through the Hugging Face layers, prompts overwritten at the input of each layer."""

    def text_directions(self, prompts: Sequence[Tensor]) -> Tensor:
        """Class directions (C, E): every class at full length, prompts at positions 1 to n."""
        n, count = len(prompts[0]), len(self.embedded)
        x = torch.cat([self.embedded[:, :1], prompts[0].expand(count, -1, -1), self.embedded[:, 1 + n :]], dim=1)
        x = self.text.embeddings(inputs_embeds=x)
        for index, layer in enumerate(self.text.encoder.layers):
            if 0 < index < len(prompts):
                x = torch.cat([x[:, :1], prompts[index].expand(count, -1, -1), x[:, 1 + n :]], dim=1)
            x = layer(x, attention_mask=None, is_causal=True)
        x = self.text.final_layer_norm(x)[torch.arange(count), self.pool]
        return F.normalize(self.model.text_projection(x), dim=-1)

    def image_directions(self, pixels: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """Image directions (B, E), prompts behind the patches."""
        vision, n, count = self.model.vision_model, len(prompts[0]), len(pixels)
        x = vision.pre_layrnorm(torch.cat([vision.embeddings(pixels), prompts[0].expand(count, -1, -1)], dim=1))
        for index, layer in enumerate(vision.encoder.layers):
            if 0 < index < len(prompts):
                x = torch.cat([x[:, :-n], prompts[index].expand(count, -1, -1)], dim=1)
            x = layer(x, attention_mask=None)
        return F.normalize(self.model.visual_projection(vision.post_layernorm(x[:, 0])), dim=-1)


class Case(StepCase):
    """One geometry and number of classes, and the two ways to make a step."""

    def __init__(self, geometry: str, classes: int) -> None:
        self.backbone, self.model = build(geometry)
        self.words = class_words(classes)
        self.method = self.make()
        lead, pad = self.backbone.tokenizer.lead[0], self.backbone.tokenizer.pad
        self.plain = DeepPlain(self.model, self.method.names, lead, pad, MaPLeConfig().prompt_tokens)
        side = self.model.config.vision_config.image_size
        self.pixels, self.labels = torch.randn(BATCH, 3, side, side), torch.randint(0, classes, (BATCH,))

    def make(self) -> MaPLe:
        """MaPLe as it starts."""
        torch.manual_seed(1)
        method = MaPLe(self.backbone, MaPLeConfig(), PromptSet("natural", overrides={w: w for w in self.words}))
        method.bind(self.words)
        return method

    def logits(self, way: str, method: Method) -> Tensor:
        """Return the logits (B, C) of the batch."""
        assert isinstance(method, MaPLe)
        if way == "ours":
            return method.logits(Batch(pixels=self.pixels))
        words = self.plain.text_directions(method.text_prompts())
        images = self.plain.image_directions(self.pixels, method.vision_prompts())
        return self.backbone.logit_scale * images @ words.T

    def tokens(self) -> dict[str, int]:
        """Text tokens that run through the tower."""
        names = self.method.names
        shared = 1 + len(self.method.text[0]) + len(self.method.remainder)
        ours = shared + sum(length - len(self.method.remainder) for length in names.lengths)
        return {"plain": len(names) * self.backbone.context_length, "ours": ours}


def call_of(geometry: str, classes: str, way: str) -> Callable[[], float]:
    """Return a step of a case of its own."""
    return Case(geometry, int(classes)).trainer(way)


def run(geometry: str, classes: int, quick: bool) -> dict[str, Any]:
    """Check and measure one case."""
    case = Case(geometry, classes)
    repeats = 3 if quick or geometry == "ViT-B/16" else 7
    seconds, losses, _ = in_turns({way: case.trainer(way) for way in WAYS}, repeats, TOLERANCE)
    row: dict[str, Any] = {"geometry": geometry, "classes": classes, "losses": losses, "repeats": repeats}
    row |= {"text_tokens": case.tokens(), "cpu_seconds": seconds, "faster": seconds["plain"] / seconds["ours"]}
    row["peak_mib"] = {}
    if not quick:
        row["peak_mib"] = {way: peak_in_fresh_process(__file__, geometry, classes, way) for way in WAYS}
    return row


def memory_per_class(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """MiB that a step adds for each class, from the fewest classes to the most, by geometry and way."""
    found = {}
    for geometry, group in itertools.groupby(rows, key=lambda row: row["geometry"]):
        first, *_, last = group
        if last["peak_mib"]:
            more = last["classes"] - first["classes"]
            found[geometry] = {way: (last["peak_mib"][way] - first["peak_mib"][way]) / more for way in WAYS}
    return found


def show(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cells = [f"{row['geometry']:>9} {row['classes']:>7}"]
    for what, digits, width in (("text_tokens", 0, 12), ("cpu_seconds", 3, 15), ("peak_mib", 0, 12)):
        cells.append(f"{' / '.join(f'{value:.{digits}f}' for value in row[what].values()):>{width}}")
    print(*cells, f"{row['faster']:>6.1f}x", flush=True)


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "three repeats, no memory", call_of)
    print("plain / ours\n geometry classes  text tokens           CPU s     peak MiB  faster")
    rows = []
    for geometry, classes in itertools.product(GEOMETRIES, CLASSES):
        rows.append(run(geometry, classes, options.quick))
        show(rows[-1])
    each = memory_per_class(rows)
    for geometry, values in each.items():
        print(f"{geometry}: MiB for each class " + " / ".join(f"{value:.2f}" for value in values.values()))
    if options.out:
        config = MaPLeConfig()
        what = (
            f"medians of CPU seconds of a step; batch {BATCH}, {config.prompt_tokens} prompt tokens in the first "
            f"{config.depth} layers of both towers (6 in mini-clip), fp32; peak: what one step adds to a fresh "
            f"process; per class: from {CLASSES[0]} to {CLASSES[-1]} classes"
        )
        write_record(options.out, options.command, what, rows, mib_per_class=each)


if __name__ == "__main__":
    main()
