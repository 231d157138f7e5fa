"""Is it worth to label what `acclimate suggest` names? Labelling rounds against random choice, on validation images.

Training images play the unlabelled folder. Kernel ridge regression at two scales learns from one image a class; then,
in every round, as many images as there are classes get their labels, chosen by one of four rules:

- random;
- uncertain: those of the least lead of the most probable class over the second;
- typical: herding in which every image counts the same;
- suggest: uncertainty herding, as `acclimate suggest` does it.

After each round balanced accuracy is measured on all validation images. Test images are never opened.

    python benchmarks/labelling_rounds.py DATA/lithology DATA/chest_xray DATA/sar_acd --out rounds.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import acclimate
from acclimate.backbones import load_backbone
from acclimate.data import sample_shots
from acclimate.data.cache import default_cache_dir
from acclimate.methods.kernel_ridge import scale_shares
from acclimate.methods.parts import kernels, ridge
from acclimate.metrics import evaluate_classification
from acclimate.runs.herding import herd, kernel_radius, margin_uncertainty
from acclimate.runs.ranking import SCALES, scales_of
from acclimate.training.encoding import tiled_features
from acclimate.training.inputs import POOLED
from measuring import write_record

WHAT = (
    "balanced accuracy (%) on validation images at the beginning and after each round of as many labels as there are "
    "classes; mean: over the rounds; lead: of that over random choice, seed by seed; last_lead: after the last round"
)


@dataclass
class Pool:
    """The images of a data set that can be labelled, and those that are measured.

    Attributes:
        name: of the data set.
        classes: C.
        points, labels: of the first, at two scales (N, F_k), and (N,).
        val, truth: the same of the second.
        starts: rows that are labelled at the beginning, by seed.
    """

    name: str
    classes: int
    points: list[Tensor]
    labels: Tensor
    val: list[Tensor]
    truth: Tensor
    starts: dict[int, list[int]]

    @classmethod
    def of(cls, path: Path, backbone: Any, seeds: Sequence[int]) -> Pool:
        """Read a data set, and encode its images through the cache."""
        data, cache = acclimate.load_data(path), default_cache_dir() / "features"

        def read(part: Any) -> list[Tensor]:
            return scales_of(tiled_features(backbone, part, SCALES.grid, cache, kind=POOLED), POOLED)

        row = {key: number for number, key in enumerate(data.train.keys)}
        starts = {seed: [row[key] for key in sample_shots(data.train, 1, seed).keys] for seed in seeds}
        labels, truth = (torch.from_numpy(part.labels) for part in (data.train, data.val))
        return cls(data.name, len(data.class_names), read(data.train), labels, read(data.val), truth, starts)

    def learn(self, rows: Sequence[int]) -> Callable[[Sequence[Tensor]], Tensor]:
        """Return what tells the probabilities (N, C) of images, learned from some rows."""
        points = [some[rows] for some in self.points]
        targets = ridge.uniform_targets(F.one_hot(self.labels[rows], self.classes).double())
        choice = ridge.choose(points, targets, scale_shares(len(points)))
        found = ridge.regress(points, targets, choice)

        def probabilities(images: Sequence[Tensor]) -> Tensor:
            kernel = kernels.kernel_of(images, found.points, choice.betas, choice.shares)
            return ((1.0 / self.classes + kernel @ found.coefficients) / found.temperature).softmax(-1)

        return probabilities

    def score(self, probabilities: Tensor) -> float:
        """Return balanced accuracy in percent."""
        names = [str(number) for number in range(self.classes)]
        found = evaluate_classification(probabilities.numpy(), self.truth.numpy(), names, resamples=1)
        return 100.0 * found["balanced_accuracy"]["value"]


Rule = Callable[[Tensor, Tensor, list[int], np.random.Generator], list[int]]


def at_random(points: Tensor, unsure: Tensor, labelled: list[int], random: np.random.Generator) -> list[int]:
    """Return the other rows in a random order."""
    return random.permutation(np.setdiff1d(np.arange(len(points)), labelled)).tolist()


def most_uncertain(points: Tensor, unsure: Tensor, labelled: list[int], random: np.random.Generator) -> list[int]:
    """Return the other rows, the most uncertain first."""
    return [row for row in unsure.argsort(descending=True, stable=True).tolist() if row not in labelled]


def herded(weighted: bool, points: Tensor, unsure: Tensor, labelled: list[int], random: np.random.Generator) -> Any:
    """Return the rows that herding names."""
    return herd(points, unsure if weighted else torch.ones_like(unsure), labelled, kernel_radius(points))


RULES: dict[str, Rule] = {
    "random": at_random,
    "uncertain": most_uncertain,
    "typical": partial(herded, False),
    "suggest": partial(herded, True),
}


def rounds_of(pool: Pool, rule: Rule, seed: int, rounds: int) -> list[float]:
    """Return what was measured at the beginning and after every round."""
    random, rows, points = np.random.default_rng(seed), list(pool.starts[seed]), pool.points[0].float()
    found = []
    for number in range(rounds + 1):
        says = pool.learn(rows)
        found.append(pool.score(says(pool.val)))
        if number < rounds:
            unsure = margin_uncertainty(says(pool.points)).float()
            rows += islice(rule(points, unsure, rows, random), pool.classes)
    return found


def summary(curves: dict[str, list[list[float]]]) -> dict[str, dict[str, Any]]:
    """Return of each rule the curve, the mean over all rounds and its lead over random choice, seed by seed."""
    means = {rule: np.array(rows)[:, 1:].mean(1) for rule, rows in curves.items()}
    last = {rule: float(np.array(rows)[:, -1].mean()) for rule, rows in curves.items()}
    return {
        rule: {
            "curve": np.array(rows).mean(0).round(2).tolist(),
            "mean": round(float(means[rule].mean()), 2),
            "lead": round(float((gap := means[rule] - means["random"]).mean()), 2),
            "lead_sd": round(float(gap.std(ddof=1)), 2) if len(gap) > 1 else None,
            "seeds_ahead": int((gap > 0).sum()),
            "last_lead": round(last[rule] - last["random"], 2),
        }
        for rule, rows in curves.items()
    }


def main() -> None:
    """Label, learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(11, 21)])
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone, rows = load_backbone(options.backbone), []
    for path in options.data:
        pool = Pool.of(path, backbone, options.seeds)
        curves = {
            name: [rounds_of(pool, rule, seed, options.rounds) for seed in options.seeds]
            for name, rule in RULES.items()
        }
        found = summary(curves)
        rows.append({"data": pool.name, "images": len(pool.labels), "classes": pool.classes, "rules": found})
        rows[-1]["curves"] = {name: np.round(some, 2).tolist() for name, some in curves.items()}
        for name, one in found.items():
            curve = " ".join(f"{value:5.1f}" for value in one["curve"])
            print(f"{pool.name:<12} {name:<10} {curve}   mean {one['mean']:.1f}, lead {one['lead']:+.1f}", flush=True)
    if options.out:
        told = {"rounds": options.rounds, "seeds": options.seeds, "backbone": options.backbone}
        names = " ".join(f"DATA/{path.name}" for path in options.data)
        write_record(
            options.out, f"python benchmarks/labelling_rounds.py {names} --out {options.out}", WHAT, rows, **told
        )


if __name__ == "__main__":
    main()
