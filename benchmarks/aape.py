"""AAPE: a training step from cached features against the plain way, and predictions beside CoOp and CoCoOp.

A training step. Both ways see the same batch from the same weights and must end with the same losses:

- plain: in every step the frozen image tower runs on the batch, and the text tower on the reference prompts of its
  classes, padded to the full context length, through the Hugging Face layers; the aggregator makes keys and values of
  every prompt, and the projection runs on every pair of class and image;
- ours: the package's loss on cached image and text features.

Predictions, images per CPU second from cached image features, with the same classes for three methods: CoOp, whose
classes are encoded once, AAPE, and CoCoOp, whose classes are encoded for each image; and AAPE the plain way, with the
projection on every pair, which must give the same logits.

    python benchmarks/aape.py --out results/aape.json
    python benchmarks/aape.py --quick
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods import Classifier, TrainingFacts, get_method
from acclimate.methods.aape import AAPE
from acclimate.methods.aape.aggregators import clip_reward
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from coop_step import build
from measuring import command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import class_words

CLASSES = {"mini-clip": (10, 100, 1000), "ViT-B/16": (10, 100)}
PROMPTS = 20  # of each class, the fewest of the published files
BATCH = 32
TOLERANCE = 1e-4  # relative: of losses over steps of AdamW, and of logits
COCOOP_LIMIT = {"mini-clip": 3200, "ViT-B/16": 320}  # pairs of image and class


class Case:
    """One geometry with some classes, their reference prompts, and a batch of images."""

    def __init__(self, geometry: str, classes: int) -> None:
        self.backbone, self.model = build(geometry)
        self.words = class_words(classes)
        self.sentences = [[f"{word} {number} seen from above" for number in range(PROMPTS)] for word in self.words]
        side = self.model.config.vision_config.image_size
        self.pixels = torch.randn(BATCH, 3, side, side)
        self.labels = torch.arange(BATCH) % classes
        self.features = self.backbone.encode_image(self.pixels)

    def make(self, name: str, **settings: Any) -> Classifier:
        """A method as it starts."""
        kind = get_method(name)
        prompts = PromptSet("natural", overrides={word: word for word in self.words})
        method = kind(self.backbone, kind.Config(**settings), prompts)
        assert isinstance(method, Classifier)
        torch.manual_seed(1)
        method.bind(self.words)
        return method

    def trainer(self, way: str) -> Callable[[], float]:
        """Return a function that makes one step of AdamW and returns the loss."""
        method = self.make("aape").train()
        assert isinstance(method, AAPE)
        facts = TrainingFacts(BATCH, 16)
        method.prepare(facts)
        stage = method.stages(facts)[0]
        parameters = list(stage.parameters)  # type: ignore[union-attr]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
        known = torch.stack([self.backbone.encode_text(self.sentences[label]) for label in self.labels])
        mask = torch.ones(known.shape[:2], dtype=torch.bool)
        ids = self.backbone.tokenize(
            [text for label in sorted(set(self.labels.tolist())) for text in self.sentences[label]]
        )
        rows = torch.unique(self.labels, return_inverse=True)[1]
        batch = Batch(
            image_features=self.features,
            reference_prompts=known,
            reference_mask=mask,
            labels=self.labels,
            index=torch.arange(BATCH),
        )

        def step() -> float:
            if way == "ours":
                terms = method.loss(batch)
                total = terms["cross_entropy"] + terms["distillation"] + terms["reward"]
            else:
                total = self._plain_loss(method, ids, rows)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            return total.item()

        return step

    def _plain_loss(self, method: AAPE, ids: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            x = F.normalize(self.model.visual_projection(self.model.vision_model(self.pixels).pooler_output), dim=-1)
            full = F.pad(ids, (0, self.backbone.context_length - ids.shape[1]), value=self.backbone.tokenizer.pad)
            pooled = self.model.text_model(input_ids=full).pooler_output
            p = F.normalize(self.model.text_projection(pooled), dim=-1).unflatten(0, (-1, PROMPTS))[rows]
        a: Any = method.aggregator
        mean = p.mean(dim=1)
        known = a.prompt_norm(torch.cat([mean[:, None], p], dim=1))
        split = (BATCH, -1, a.heads, a.width // a.heads)
        q = a.query(a.query_norm(mean + a.of_image(x))).view(split).transpose(1, 2)
        k, v = (layer(known).view(split).transpose(1, 2) for layer in (a.key, a.value))
        made = mean + a.output(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))
        aggregated = F.normalize(made + a.network(a.last_norm(made)), dim=-1)
        h = method.generator(x)
        distance = (h - aggregated.detach()).square().sum(dim=1).mean()
        entropy = F.cross_entropy(self._plain_logits(method, x, h), self.labels)
        return entropy + method.config.distillation_weight * distance - clip_reward(x, aggregated, clipped=False)

    def _plain_logits(self, method: AAPE, x: Tensor, h: Tensor) -> Tensor:
        assert method.projection is not None
        w, g = method.templates, method.projection
        pairs = torch.cat([w.expand(len(x), -1, -1), h[:, None].expand(-1, len(w), -1)], dim=-1)
        made = F.normalize(w + g.last(F.relu(g.first(pairs))), dim=-1)
        return self.backbone.logit_scale * torch.einsum("be,bce->bc", x, made)

    def predictor(self, way: str) -> Callable[[], Tensor]:
        """Return a function that predicts the batch, its classes encoded before, and returns the logits."""
        name = way.removesuffix(" plain")
        method = self.make(name).eval()
        batch = Batch(image_features=self.features)

        @torch.no_grad()
        def predict() -> Tensor:
            if way == name:
                return method.logits(batch)
            assert isinstance(method, AAPE)
            x = F.normalize(self.features, dim=-1)
            return self._plain_logits(method, x, method.generator(x))

        if name == "coop":
            predict()  # its classes are encoded once
        return predict


def call_of(geometry: str, classes: str, way: str) -> Callable[[], Any]:
    """Return a prediction of a case of its own."""
    return Case(geometry, int(classes)).predictor(way)


def measure_step(geometry: str, classes: int, turns: int) -> dict[str, Any]:
    """Check and measure a training step."""
    case = Case(geometry, classes)
    seconds, losses, worst = in_turns({way: case.trainer(way) for way in ("plain", "ours")}, turns, TOLERANCE)
    faster = seconds["plain"] / seconds["ours"]
    return {"geometry": geometry, "classes": classes, "cpu_seconds": seconds, "faster": faster, "losses": losses,
            "difference": worst}  # fmt: skip


def measure_prediction(geometry: str, classes: int, turns: int, quick: bool) -> dict[str, Any]:
    """Check and measure predictions."""
    case = Case(geometry, classes)
    ways = ["aape plain", "aape"]
    _, _, worst = in_turns({way: case.predictor(way) for way in ways}, 1, TOLERANCE)
    ways += ["coop"] + ["cocoop"] * (BATCH * classes <= COCOOP_LIMIT[geometry])
    seconds, _, _ = in_turns({way: case.predictor(way) for way in ways}, turns, math.inf)  # of different methods
    speed = {way: BATCH / taken for way, taken in seconds.items()}
    row = {"geometry": geometry, "classes": classes, "images_per_second": speed, "difference": worst}
    if not quick:
        row["peak_mib"] = {way: peak_in_fresh_process(__file__, geometry, classes, way) for way in ways}
    return row


def main() -> None:
    """Measure, print both tables, write the record."""
    options = command_line(__doc__, "mini-clip, 10 and 100 classes, one turn, no memory", call_of)
    turns = 1 if options.quick else 5
    geometries = ["mini-clip"] if options.quick else ["mini-clip", "ViT-B/16"]
    steps, rows = [], []
    print(f"a training step of {BATCH} images with {PROMPTS} reference prompts a class, CPU seconds")
    for geometry in geometries:
        steps.append(measure_step(geometry, 10, turns))
        taken, faster = steps[-1]["cpu_seconds"], steps[-1]["faster"]
        print(
            f"{geometry:>9} {10:>4} classes: plain {taken['plain']:.3f}, ours {taken['ours']:.4f} ({faster:.0f}x)",
            flush=True,
        )
    print("predictions, images per CPU second")
    for geometry, classes in [
        (one, count) for one in geometries for count in CLASSES[one][: 2 if options.quick else 3]
    ]:
        rows.append(measure_prediction(geometry, classes, turns, options.quick))
        cells = [f"{way} {speed:,.0f}" for way, speed in rows[-1]["images_per_second"].items()]
        peak = " / ".join(f"{value:.0f}" for value in rows[-1].get("peak_mib", {}).values())
        print(f"{geometry:>9} {classes:>4} classes: {', '.join(cells)}  peak MiB {peak}", flush=True)
    if options.out:
        what = "medians of CPU seconds of a training step (steps), images per CPU second of a prediction (rows), fp32"
        write_record(options.out, options.command, what, rows, steps=steps)


if __name__ == "__main__":
    main()
