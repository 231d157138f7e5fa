"""Class features from a learned context: this package's text tower against the plain way, in one interleaved run.

The plain way is what prompt-learning code does on every step: for every class a sequence padded to the full context
length, through the Hugging Face layers. Both use the same random weights and must give the same features and gradients.

    python benchmarks/text_tower.py --out results/text_tower.json
    python benchmarks/text_tower.py --quick
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

import acclimate
from acclimate.backbones import ClassTokens
from acclimate.backbones.dual_encoder import DualEncoder
from acclimate.backbones.families import ClipFamily
from measuring import command_line, peak_in_fresh_process, write_record

MINI_CLIP = Path(acclimate.__file__).parent / "backbones" / "mini_clip"
GEOMETRIES = {
    "mini-clip": {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3, "max_position_embeddings": 32},
    "ViT-B/16": {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8, "max_position_embeddings": 77},
}
TOKENS = {"vocab_size": 49408, "bos_token_id": 6142, "eos_token_id": 6143, "pad_token_id": 6143}
WAYS = ("ours", "plain")
CONTEXT = 16  # context vectors, as in CoOp
PLAIN_BATCH = {"mini-clip": 1000, "ViT-B/16": 100}  # classes; all 1,000 of the latter would need about 25 GB backward
KINDS = "forest river house road field lake ship plane tower tree bridge harbor bus train dog horse".split()  # noqa: SIM905
MARKS = "small large red green old new dry wet".split()  # noqa: SIM905


def build(geometry: str) -> tuple[DualEncoder, Any]:
    """A backbone with random weights, and the Hugging Face model that holds them."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    sizes = GEOMETRIES[geometry]
    text = {**sizes, **TOKENS, "intermediate_size": 4 * sizes["hidden_size"]}
    config = transformers.CLIPConfig(text_config=text, vision_config={"num_hidden_layers": 1})
    model = transformers.CLIPModel(config)
    backbone = DualEncoder(geometry, ClipFamily(model), transformers.AutoTokenizer.from_pretrained(MINI_CLIP))
    return backbone, model


def class_words(count: int) -> list[str]:
    """Names of one to four words, two in the middle, as class names are."""
    names = [*KINDS]
    names += [f"{mark} {kind}" for mark in MARKS for kind in KINDS]
    names += [f"{mark} {kind} and {other}" for mark in MARKS for kind in KINDS for other in KINDS[:8]]
    step = 37  # coprime to the number of names: a mixture of lengths at every count
    return [names[index * step % len(names)] for index in range(count)]


class Plain:
    """Sequences padded to the full context length, through the Hugging Face text model."""

    def __init__(self, model: Any, names: ClassTokens, lead: int, pad: int, context: int = CONTEXT) -> None:
        self.model, self.text, self.context = model, model.text_model, context
        length = self.text.config.max_position_embeddings
        rows, self.pool = [], []
        for name, tail in zip(names.names, names.tails, strict=True):
            row = [lead, *[pad] * context, *name, *tail]
            self.pool.append(len(row) - 1)
            rows.append(row + [pad] * (length - len(row)))
        with torch.no_grad():
            self.embedded = self.text.embeddings.token_embedding(torch.tensor(rows))

    def features(self, context: Tensor, classes: slice) -> Tensor:
        """(C, E) of some classes."""
        rows = self.embedded[classes]
        x = torch.cat([rows[:, :1], context.expand(len(rows), -1, -1), rows[:, 1 + self.context :]], dim=1)
        x = self.text.embeddings(inputs_embeds=x)
        x = self.text.encoder(inputs_embeds=x, attention_mask=None, is_causal=True).last_hidden_state
        x = self.text.final_layer_norm(x)[torch.arange(len(rows)), self.pool[classes]]
        return self.model.text_projection(x)


class Case:
    """One geometry and number of classes, and the two ways to get features and gradients."""

    def __init__(self, geometry: str, classes: int) -> None:
        self.backbone, model = build(geometry)
        self.names = self.backbone.class_tokens(class_words(classes))
        self.plain_way = Plain(model, self.names, self.backbone.tokenizer.lead[0], self.backbone.tokenizer.pad)
        self.context = (torch.randn(CONTEXT, self.backbone.text_width) * 0.02).requires_grad_()
        self.weights = torch.randn(classes, self.backbone.embed_dim)

    def run(self, way: str, backward: bool) -> tuple[Tensor, Tensor | None]:
        """Features (C, E), and the gradient of the context where asked for."""
        self.context.grad = None
        with torch.set_grad_enabled(backward):
            if way == "ours":
                features = self.backbone.encode_context(self.context, self.names)
                if backward:
                    (features * self.weights).sum().backward()
            else:
                parts = []
                step = PLAIN_BATCH[self.backbone.name]
                for start in range(0, len(self.names), step):
                    some = slice(start, start + step)
                    parts.append(self.plain_way.features(self.context, some))
                    if backward:
                        (parts[-1] * self.weights[some]).sum().backward()
                        parts[-1] = parts[-1].detach()
                features = torch.cat(parts)
        return features.detach(), self.context.grad

    def check(self) -> float:
        """Largest difference of features and gradients between the two ways, relative to the largest entry."""
        pairs = zip(self.run("ours", True), self.run("plain", True), strict=True)
        return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)  # type: ignore[union-attr, operator]

    def tokens(self) -> dict[str, int]:
        """Tokens that run through the tower."""
        ours = 1 + CONTEXT + sum(self.names.lengths)
        return {"ours": ours, "plain": len(self.names) * self.backbone.context_length}


def measure(case: Case, backward: bool, budget: float) -> tuple[dict[str, float], int]:
    """Median CPU seconds of both ways, taken in turns for about `budget` seconds, and the number of turns."""
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    while sum(map(sum, times.values())) < budget and len(times["ours"]) < 25:
        for way, taken in times.items():
            start = time.process_time()
            case.run(way, backward)
            taken.append(time.process_time() - start)
    return {way: statistics.median(taken) for way, taken in times.items()}, len(times["ours"])


def show(*cells: object) -> None:
    """Print a line of the table; pairs are ours / plain."""
    print(
        "".join(f"{cell:>{width}}" for cell, width in zip(cells, (10, 9, 9, 16, 18, 8, 14, 12), strict=True)),
        flush=True,
    )


def call_of(way: str, geometry: str, classes: str, backward: str) -> Callable[[], object]:
    """Return one pass of a case of its own."""
    case = Case(geometry, int(classes))
    return lambda: case.run(way, backward == "True")


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "10 and 100 classes, few repeats, no memory", call_of)
    rows = []
    show("geometry", "classes", "pass", "tokens", "CPU s", "faster", "peak MiB", "difference")
    for geometry, classes in itertools.product(GEOMETRIES, (10, 100) if options.quick else (10, 100, 1000)):
        case = Case(geometry, classes)
        difference = case.check()  # also warms both ways up
        if difference > 1e-4:
            raise SystemExit(f"{geometry}, {classes} classes: the two ways differ by {difference:.1e}")
        for backward in (False, True):
            seconds, repeats = measure(case, backward, budget=3 if options.quick else 30)
            peak = {}
            if not options.quick:
                peak = {way: peak_in_fresh_process(__file__, way, geometry, classes, backward) for way in WAYS}
            row: dict[str, Any] = {
                "geometry": geometry,
                "classes": classes,
                "pass": "fwd+bwd" if backward else "fwd",
                "tokens": case.tokens(),
                "cpu_seconds": seconds,
                "speedup": seconds["plain"] / seconds["ours"],
                "peak_mib": peak,
                "max_relative_difference": difference,
                "repeats": repeats,
            }
            rows.append(row)
            pairs = [" / ".join(f"{values[way]:.{digits}f}" for way in WAYS if values) for values, digits in (
                (row["tokens"], 0), (seconds, 3), (peak, 0)
            )]  # fmt: skip
            show(geometry, classes, row["pass"], *pairs[:2], f"{row['speedup']:.1f}x", pairs[2], f"{difference:.0e}")
    if options.out:
        what = (
            f"medians; {CONTEXT} context vectors, class at the end, fp32; the plain way runs {PLAIN_BATCH} classes "
            "at a time; peak: what one run adds to a process"
        )
        write_record(options.out, options.command, what, rows)


if __name__ == "__main__":
    main()
