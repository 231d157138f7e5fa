"""A training step and a prediction of GDPL: this package against the plain way, in one interleaved run.

The plain way is that of the released trainer: in every step the domain encoder runs on the batch, the image tower with
prompts and low-rank changes as well, and a Python loop over the images runs the text tower on every class, padded to
the full context length, with the prompts of that image; all through the Hugging Face layers. Ours reads domain features
from the cache and runs the text tower on images x classes at once: [SOS], prompts and common words once an image, of a
class its own words. Both have the same weights, batch and noise, and must give the same losses and logits. The settings
of both variants are named here, so that the figures do not hang on defaults; no learned tensor starts at zero.

Prediction is measured for the corrected variant; the released one does the same work. Its memory must not grow with
images x classes.

    python benchmarks/gdpl_step.py --out results/gdpl_step.json
    python benchmarks/gdpl_step.py --quick
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones import DomainEncoder, LowRankDeltas
from acclimate.backbones.domain_encoder import wrap_encoder
from acclimate.backbones.mae import MaskedAutoencoder
from acclimate.methods.contract import Method
from acclimate.methods.gdpl import GDPL, GDPLConfig
from acclimate.options import make_config
from acclimate.prompts import PromptSet
from acclimate.training.batch import Batch
from coop_step import build
from maple_step import DeepPlain
from measuring import StepCase, command_line, in_turns, peak_in_fresh_process, write_record
from text_tower import class_words

WAYS = ("plain", "ours")
PLAIN_LIMIT = 100  # classes of a prediction; with 1,000 the plain way takes ten times as long


class Job(NamedTuple):
    """What is measured, and how often."""

    what: Literal["step", "prediction"]
    geometry: str
    variant: str
    images: int
    classes: int
    turns: int
    peaks: tuple[str, ...] = WAYS

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways that are run."""
        return WAYS if self.what == "step" or self.classes <= PLAIN_LIMIT else WAYS[1:]


JOBS = (
    Job("step", "mini-clip", "released", 4, 10, 7),
    Job("step", "mini-clip", "corrected", 4, 10, 7),
    Job("step", "mini-clip", "released", 4, 30, 7),
    Job("step", "mini-clip", "corrected", 4, 30, 7),
    Job("step", "ViT-B/16", "released", 4, 30, 3, peaks=()),
    Job("step", "ViT-B/16", "corrected", 4, 30, 3),
    Job("prediction", "mini-clip", "corrected", 32, 10, 5),
    Job("prediction", "mini-clip", "corrected", 32, 100, 1),
    Job("prediction", "mini-clip", "corrected", 32, 1000, 1, peaks=WAYS[1:]),
    Job("prediction", "ViT-B/16", "corrected", 4, 10, 3),
    Job("prediction", "ViT-B/16", "corrected", 4, 100, 1, peaks=WAYS[1:]),
    Job("prediction", "ViT-B/16", "corrected", 4, 1000, 1, peaks=WAYS[1:]),
)
TOLERANCE = 1e-5  # of losses and logits, relative
ENCODERS = {"mini-clip": "tiny", "ViT-B/16": "base"}  # sizes of a masked autoencoder; base is ViT-B/16
COMMON: dict[str, Any] = {
    "prompt_tokens": 2,
    "depth": 9,
    "layers": 9,
    "rank": 4,
    "context_init": "a photo of a",
    "meta_width": 32,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"variant": "released", **COMMON},
    "corrected": {
        **{"variant": "corrected", **COMMON, "conditioning": "deep", "mixer": "quaternion-axes", "residual": True},
        **{"image_bias": True, "noise": "none", "low_rank": "relation", "low_rank_start": "zero"},
    },
}


def build_domain_encoder(geometry: str) -> DomainEncoder:
    """A masked autoencoder's encoder with random weights."""
    mae = MaskedAutoencoder(ENCODERS[geometry])
    model = mae.model.vit.requires_grad_(False).eval()
    model.config.mask_ratio = 0.0
    return wrap_encoder(geometry, "vit_mae", model, mae.transform)


class Case(StepCase):
    """One geometry, variant, batch and number of classes."""

    def __init__(self, geometry: str, variant: str, images: int, classes: int) -> None:
        self.backbone, model = build(geometry)
        self.domain_encoder = build_domain_encoder(geometry)
        self.config, self.words = make_config(GDPLConfig, VARIANTS[variant]), class_words(classes)
        side = model.config.vision_config.image_size
        self.labels = torch.randint(0, classes, (images,))
        self.pixels = torch.randn(images, 3, side, side)
        self.views = torch.randn(images, 3, *self.domain_encoder.image_size)  # as the encoder takes them
        self.cached = self.domain_encoder.encode_image(self.views)
        names, tokenizer = self.make().names, self.backbone.tokenizer
        self.plain = DeepPlain(model, names, tokenizer.lead[0], tokenizer.pad, COMMON["prompt_tokens"])

    def make(self) -> GDPL:
        """GDPL with all learned tensors away from zero."""
        torch.manual_seed(1)
        prompts = PromptSet("natural", overrides={word: word for word in self.words})
        method = GDPL(self.backbone, self.config, prompts, self.domain_encoder)
        method.bind(self.words)
        for weight in method.parameters():
            weight.data.add_(torch.randn_like(weight) * 0.01)
        return method

    def logits(self, way: str, method: Method) -> Tensor:
        """Return the logits (B, C) of the batch."""
        assert isinstance(method, GDPL)
        if way == "ours":
            return method.logits(Batch(pixels=self.pixels, domain_features=self.cached))
        features = self.domain_encoder.encode_image(self.views)
        if self.config.feature_norm:
            features = F.layer_norm(features, features.shape[-1:])
        bias, changes = method.domain_bias(features), method.deltas()
        with changed(self.plain.model.vision_model, changes["vision"]):
            images = self.plain.image_directions(self.pixels, method.image_prompts(bias))
        images = method.image_directions_of(images, features)
        prompts, rows = method.class_prompts(bias, features), []
        with changed(self.plain.text, changes["text"]):
            for number, image in enumerate(images):
                own = [prompt[number] if prompt.ndim == 3 else prompt for prompt in prompts]
                rows.append(self.plain.text_directions(own) @ image)
        return self.backbone.logit_scale * torch.stack(rows)


@contextmanager
def changed(tower: Any, deltas: LowRankDeltas) -> Iterator[None]:
    """Add low-rank changes to the attention weights of a Hugging Face tower."""
    with ExitStack() as stack:
        for layer, changes in zip(tower.encoder.layers, deltas.layers, strict=False):
            for name, change in changes.items():
                linear = getattr(layer.self_attn, f"{name}_proj")
                handle = linear.register_forward_hook(partial(_add, change))
                stack.callback(handle.remove)
        yield


def _add(change: Callable[[Tensor], Tensor], linear: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + change(inputs[0])


def call_of(what: str, geometry: str, variant: str, images: str, classes: str, way: str) -> Callable[[], Any]:
    """Return a step or a prediction of a case of its own."""
    case = Case(geometry, variant, int(images), int(classes))
    return case.trainer(way) if what == "step" else case.predictor(way)


def run(job: Job, quick: bool) -> dict[str, Any]:
    """Check and measure a step or a prediction of one case."""
    case = Case(*job[1:5])
    calls = {way: case.trainer(way) if job.what == "step" else case.predictor(way) for way in job.ways}
    seconds, results, worst = in_turns(calls, min(job.turns, 3) if quick else job.turns, TOLERANCE)
    row = {key: value for key, value in job._asdict().items() if key != "peaks"}
    if job.what == "step":
        row["losses"] = results
    row |= {"difference": worst, "cpu_seconds": seconds}
    row["images_per_second"] = {way: job.images / taken for way, taken in seconds.items()}
    if "plain" in seconds:
        row["faster"] = seconds["plain"] / seconds["ours"]
    row["peak_mib"] = {way: peak_in_fresh_process(__file__, *job[:5], way) for way in job.peaks if not quick}
    return row


def show(row: dict[str, Any]) -> None:
    """Print one line of the table."""
    cells = [f"{row['what']:>10} {row['geometry']:>9} {row['variant']:>9} {row['images']:>6} {row['classes']:>7}"]
    for what, digits, width in (("cpu_seconds", 3, 15), ("images_per_second", 2, 13), ("peak_mib", 0, 10)):
        cells.append(f"{' / '.join(f'{value:.{digits}f}' for value in row[what].values()):>{width}}")
    print(*cells, f"{row['faster']:>6.1f}x" if "faster" in row else "", flush=True)


def main() -> None:
    """Measure, print a table, write the record."""
    options = command_line(__doc__, "mini-clip with 10 classes, at most three turns, no memory", call_of)
    jobs = [job for job in JOBS if not options.quick or (job.geometry == "mini-clip" and job.classes == 10)]
    print(
        "plain / ours\n      what  geometry   variant images classes",
        f"{'CPU s':>15} {'images/s':>13} {'peak MiB':>10}  faster",
    )
    rows = []
    for job in jobs:
        rows.append(run(job, options.quick))
        show(rows[-1])
    if options.out:
        what = (
            "medians of CPU seconds; 2 prompt tokens in the first 9 layers of both towers (6 "
            "in mini-clip), low-rank changes there, fp32; plain: a loop over the images, text at full length, the "
            "domain encoder run on every batch; ours: domain features from the cache; peak: what one step or "
            "prediction adds to a fresh process; difference: of losses or logits, relative"
        )
        write_record(options.out, options.command, what, rows)


if __name__ == "__main__":
    main()
