"""Which half of GDPL holds it back: its images, or its classes? Linear probes before and after, on validation images.

Learns from 16 images a class and prints balanced accuracy (%), mean and standard deviation over seeds, of

- gdpl, on validation images and on the images that it learned from;
- a linear probe on frozen image features, and one on directions z(x) of the adapted tower: where the second is
  the better one, the tower has learned what the text side cannot tell;
- cosines of the adapted images with class directions that are means of the adapted training images, in place of texts.

The probes choose their strength by cross-validation. Test images are never opened.

    python benchmarks/gdpl_probe.py DATA/sar_acd --domain sar --domain-encoder runs/mae/sar_acd
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor
from torch.nn import functional as F

import acclimate
from acclimate.backbones import load_backbone, load_domain_encoder
from acclimate.data.cache import default_cache_dir
from acclimate.methods import TrainingFacts
from acclimate.methods.linear_probe import LinearProbe, LinearProbeConfig
from acclimate.methods.parts.text import TextClassifier
from acclimate.options import parse_assignments
from acclimate.prompts import PromptSet, get_domain
from acclimate.protocols import FewShotValidation
from acclimate.runs import RunOptions, adapt_trial
from acclimate.training.batch import Batch
from acclimate.training.feeding import evaluation_feed
from acclimate.training.feeds import FeatureFeed, Feed, chunks
from acclimate.training.inputs import Given

ROWS = ("gdpl", "gdpl on its training images", "probe, frozen", "probe, adapted", "class means, adapted")


@torch.no_grad()
def collect(feed: Feed, method: TextClassifier) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (N, C), image directions (N, E) and labels (N,) of a feed."""
    parts = [(method.logits(batch), method.image_directions(batch), batch.labels) for batch in chunks(feed, 32)]
    logits, images, labels = (torch.cat(column) for column in zip(*parts, strict=True))
    return logits, images, labels


def frozen_features(feed: Feed) -> Tensor:
    """Return the image features (N, E) of the frozen tower for a feed."""
    return torch.cat([batch.image_features for batch in chunks(feed, 256)])


def score(logits: Tensor, labels: Tensor) -> float:
    """Return balanced accuracy in percent."""
    return 100 * float(balanced_accuracy_score(labels.numpy(), logits.argmax(dim=-1).numpy()))


def main() -> None:
    """Learn, probe, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--domain", required=True, help="domain of the templates")
    parser.add_argument("--domain-encoder", default="self")
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of gdpl")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, backbone = acclimate.load_data(options.data, split_rule="greedy"), load_backbone(options.backbone)
    encoder, cache = load_domain_encoder(options.domain_encoder, backbone), default_cache_dir() / "features"
    prompts = PromptSet(get_domain(options.domain))
    settings = parse_assignments(options.set)

    def probe(train: Tensor, labels: Tensor, val: Tensor) -> Tensor:
        method = LinearProbe(backbone, LinearProbeConfig(), prompts)
        method.bind(data.class_names)
        method.stages(TrainingFacts(len(labels), options.shots))[0].solve(FeatureFeed(train, labels), None)
        return method.logits(Batch(image_features=val))

    rows: dict[str, list[float]] = {name: [] for name in ROWS}
    for seed in options.seeds:
        trial = FewShotValidation().draw(data.name, {data.name: data}, options.shots, seed)
        (measured,) = trial.tests.values()
        model = adapt_trial(
            trial, "gdpl", backbone, RunOptions(cache_dir=cache), prompts=prompts, shots=options.shots, seed=seed,
            settings=settings, domain_encoder=encoder,
        )  # fmt: skip
        method = model.method
        assert isinstance(method, TextClassifier)
        names = method.inputs.prediction | {"image_features"}
        given = Given(backbone, encoder, cache_dir=cache)
        feeds = [evaluation_feed(names, some, given) for some in (trial.train, measured)]
        (known, train, labels), (logits, val, truth) = (collect(feed, method) for feed in feeds)
        frozen = [frozen_features(feed) for feed in feeds]
        means = F.normalize(F.one_hot(labels, len(data.class_names)).float().T @ train, dim=-1)
        found = (
            score(logits, truth),
            score(known, labels),
            score(probe(frozen[0], labels, frozen[1]), truth),
            score(probe(train, labels, val), truth),
            score(val @ means.T, truth),
        )
        for name, value in zip(ROWS, found, strict=True):
            rows[name].append(value)
        print(
            f"seed {seed}: " + ", ".join(f"{name} {value:.1f}" for name, value in zip(ROWS, found, strict=True)),
            flush=True,
        )
    for name, values in rows.items():
        print(f"{name:<30} {np.mean(values):5.1f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.1f}")


if __name__ == "__main__":
    main()
