"""SPG's second stage and its predictions: this package against the plain way, in one interleaved run.

The first epoch of stage II. All ways start from the same weights, see the same batches, draw the same noise, and must
end with the same losses:

- reloading: as the released trainer does it. Each step decodes the second batch of images by going through the shuffled
  loader anew up to a random place, and runs the image tower on both batches, building a graph that is thrown away;
- encoding: the same without going through the loader; both batches are at hand as pixels;
- ours: the package's fit loop on cached image features.

Predictions, with one draw of noise for all images: the plain way runs the image tower and, image by image, the text
tower on every class, padded to the full context length, through the Hugging Face layers; ours has the image features
cached, or runs the image tower too ("live"), and one pass of the text tower for all.

    python benchmarks/spg.py --out results/spg.json
    python benchmarks/spg.py --quick
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods import TrainingFacts
from acclimate.methods.spg import SPG, SPGConfig
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from acclimate.training.devices import make_accelerator
from acclimate.training.feeds import FeatureFeed, epoch_order
from acclimate.training.fit import FitContext, fit
from acclimate.training.journal import Journal
from acclimate.training.seeding import seed_step
from acclimate.training.stages import AlternatingStage
from coop_step import build
from measuring import command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import Plain, class_words

DOMAINS = 3
EPOCHS = {"mini-clip": (38, 3), "ViT-B/16": (2, 1)}  # steps of 32 images, turns; 38 are those of PACS in the study
PREDICTIONS = {  # images, classes
    "mini-clip": [(32, 7), (32, 30), (8, 345)],
    "ViT-B/16": [(8, 7), (8, 30), (2, 345)],
}
PLAIN_LIMIT = {"mini-clip": 3000, "ViT-B/16": 240}  # pairs of image and class in a plain prediction
TOLERANCE = 1e-4  # of losses and logits
BATCH = 32


class Case:
    """One geometry with images, classes and prompt labels."""

    def __init__(self, geometry: str, images: int, classes: int) -> None:
        self.backbone, self.model = build(geometry)
        self.words = class_words(classes)
        self.side = self.model.config.vision_config.image_size
        generator = np.random.default_rng(0)
        self.files = [self._picture(generator) for _ in range(images)]
        self.pixels = torch.stack([self._decode(file) for file in self.files])
        self.features = torch.cat([self.backbone.encode_image(some) for some in self.pixels.split(BATCH)])
        self.labels, self.domains = torch.zeros(images, dtype=torch.long), torch.arange(images) % DOMAINS

    def _picture(self, generator: np.random.Generator) -> bytes:
        file = io.BytesIO()
        pixels = generator.integers(0, 256, (self.side // 8, self.side // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((self.side, self.side)).save(file, "JPEG")
        return file.getvalue()

    def _decode(self, file: bytes) -> Tensor:
        pixels = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"), dtype=np.float32)
        return torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1

    def make(self) -> SPG:
        """SPG with random prompt labels, as it starts."""
        torch.manual_seed(1)
        prompts = PromptSet("natural", overrides={word: word for word in self.words})
        method = SPG(self.backbone, SPGConfig(), prompts)
        method.bind(self.words)
        labels = method.labels.values[0] + 0.02 * torch.randn(DOMAINS, *method.labels.values.shape[1:])
        method.adopt({str(number): {"context": label} for number, label in enumerate(labels)})
        return method

    def epoch(self, way: str) -> Callable[[], Tensor]:
        """Return a function that makes one epoch and returns the mean losses of discriminator and generator."""

        method = self.make()
        facts = TrainingFacts(len(self.labels), BATCH, DOMAINS)
        method.prepare(facts)
        stage = method.stages(facts)[0]
        assert isinstance(stage, AlternatingStage)
        start = {name: tensor.clone() for name, tensor in method.learned_state().items()}

        def run() -> Tensor:
            method.load_learned_state(start)
            return self._ours(method, stage) if way == "ours" else self._plain(way, method, stage)

        return run

    def _ours(self, method: SPG, stage: AlternatingStage) -> Tensor:
        journal, feed = Journal(), FeatureFeed(self.features, self.labels, self.domains)
        once = AlternatingStage(stage.name, stage.recipe, 1, stage.turns, stage.batches, True, stage.watched)
        fit(method, [once], feed, context=FitContext(make_accelerator(torch.device("cpu")), journal=journal))
        row = journal.lines[0]
        return torch.tensor([row["discriminator_real"] + row["discriminator_generated"], row["generator"]])

    def _plain(self, way: str, method: SPG, stage: AlternatingStage) -> Tensor:
        recipe, generator = stage.recipe, np.random.default_rng(0)
        source: Any = method.train().source
        discriminator, maker = source.discriminator, source.generator
        rate, decay = recipe.learning_rate(0, stage.epochs), recipe.weight_decay
        optimizers = [torch.optim.AdamW(turn.parameters, lr=rate, weight_decay=decay) for turn in stage.turns]
        first, second = (epoch_order(len(self.labels), 1, "gan", 0, *extra).split(BATCH) for extra in ((), (1,)))
        sums = torch.zeros(2)
        for step, (here, there) in enumerate(zip(first, second, strict=True)):
            if way == "reloading":
                for batch in range(int(generator.integers(len(first)))):  # what comes before the batch that is wanted
                    torch.stack([self._decode(self.files[row]) for row in first[batch].tolist()])
                real, other = (torch.stack([self._decode(self.files[row]) for row in rows]) for rows in (here, there))
            else:
                real, other = self.pixels[here], self.pixels[there]
            for parameter in self.model.parameters():
                parameter.requires_grad_(way == "reloading")
            f, g = (
                F.normalize(self.model.visual_projection(self.model.vision_model(x).pooler_output), dim=-1).detach()
                for x in (real, other)
            )
            for parameter in self.model.parameters():
                parameter.requires_grad_(False)
            seed_step(1, "gan", 0, step)
            gain = self.backbone.embed_dim**0.5
            made = maker(torch.cat([torch.randn(len(g), 100), gain * g], dim=1))
            wanted = method.labels.units[self.domains[here]]
            judged = (discriminator(torch.cat([wanted, gain * f], 1)) - 1).square().mean()
            judged = judged + discriminator(torch.cat([made.detach(), gain * g], 1)).square().mean()
            optimizers[0].zero_grad()
            judged.backward()
            optimizers[0].step()
            forged = (discriminator(torch.cat([made, gain * g], 1)) - 1).square().mean()
            optimizers[1].zero_grad()
            forged.backward()
            optimizers[1].step()
            sums += torch.stack([judged, forged]).detach()
        return sums / len(first)

    def predictor(self, way: str) -> Callable[[], Tensor]:
        """Return a function that predicts all images and returns the logits."""
        method = self.make().eval()
        names, lead = self.backbone.class_tokens(self.words), self.backbone.tokenizer.lead[0]
        plain = Plain(self.model, names, lead, self.backbone.tokenizer.pad, method.labels.values.shape[1])

        @torch.no_grad()
        def predict() -> Tensor:
            if way == "cached":
                return method.logits(Batch(image_features=self.features))
            if way == "live":
                return method.logits(Batch(image_features=self.backbone.encode_image(self.pixels)))
            rows = []
            for pixels in self.pixels:
                image = self.model.visual_projection(self.model.vision_model(pixels[None]).pooler_output)
                image = F.normalize(image, dim=-1)
                words = F.normalize(plain.features(method.image_prompts(image)[0], slice(None)), dim=-1)
                rows.append(self.backbone.logit_scale * image[0] @ words.T)
            return torch.stack(rows)

        return predict


def call_of(geometry: str, images: str, classes: str, way: str) -> Callable[[], Tensor]:
    """Return a prediction of a case of its own."""
    return Case(geometry, int(images), int(classes)).predictor(way)


def measure_epoch(geometry: str, quick: bool) -> dict[str, Any]:
    """Check and measure an epoch of stage II."""
    steps, turns = (2, 1) if quick else EPOCHS[geometry]
    case = Case(geometry, BATCH * steps, 7)
    ways = ("encoding", "reloading", "ours")
    seconds, losses, worst = in_turns({way: case.epoch(way) for way in ways}, turns, TOLERANCE)
    return {
        "geometry": geometry,
        "steps": steps,
        "cpu_seconds": seconds,
        "faster": {way: seconds[way] / seconds["ours"] for way in ("encoding", "reloading")},
        "losses": {way: values[0].tolist() for way, values in losses.items()},
        "difference": worst,
    }


def measure_prediction(geometry: str, images: int, classes: int, quick: bool) -> dict[str, Any]:
    """Check and measure a prediction."""
    case = Case(geometry, images, classes)
    plain = images * classes <= PLAIN_LIMIT[geometry]
    ways = ("plain", "live", "cached") if plain else ("live", "cached")
    seconds, _, worst = in_turns({way: case.predictor(way) for way in ways}, 1 if quick else 3, TOLERANCE)
    row: dict[str, Any] = {"geometry": geometry, "images": images, "classes": classes, "cpu_seconds": seconds}
    row["images_per_second"] = {way: images / taken for way, taken in seconds.items()}
    if plain:
        row |= {"faster": {way: seconds["plain"] / seconds[way] for way in ("live", "cached")}, "difference": worst}
    if not quick:
        row["peak_mib"] = {way: peak_in_fresh_process(__file__, geometry, images, classes, way) for way in ways}
    return row


def main() -> None:
    """Measure, print both tables, write the record."""
    options = command_line(__doc__, "two steps, one turn, few classes, no memory", call_of)
    epochs, rows = [], []
    print("an epoch of stage II, CPU seconds")
    for geometry in ["mini-clip"] if options.quick else EPOCHS:
        epochs.append(measure_epoch(geometry, options.quick))
        taken, faster = epochs[-1]["cpu_seconds"], epochs[-1]["faster"]
        line = ", ".join(f"{way} {taken[way]:.3f} ({faster[way]:.0f}x)" for way in ("reloading", "encoding"))
        print(f"{geometry:>9} {epochs[-1]['steps']:>3} steps: {line}, ours {taken['ours']:.3f}", flush=True)
    print("predictions, images per CPU second")
    for geometry in ["mini-clip"] if options.quick else PREDICTIONS:
        for images, classes in PREDICTIONS[geometry][:1] if options.quick else PREDICTIONS[geometry]:
            rows.append(measure_prediction(geometry, images, classes, options.quick))
            speeds, faster = rows[-1]["images_per_second"], rows[-1].get("faster", {})
            ratios = {way: f" ({ratio:.1f}x)" for way, ratio in faster.items()}
            cells = [f"{way} {speed:.1f}{ratios.get(way, '')}" for way, speed in speeds.items()]
            peak = " / ".join(f"{value:.0f}" for value in rows[-1].get("peak_mib", {}).values())
            print(f"{geometry:>9} {images:>3} x {classes:<3}: {', '.join(cells)}  peak MiB {peak}", flush=True)
    if options.out:
        what = "medians of CPU seconds of an epoch of stage II (epochs) and of a prediction (rows), fp32"
        write_record(options.out, options.command, what, rows, epochs=epochs)


if __name__ == "__main__":
    main()
