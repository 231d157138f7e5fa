"""Does what a run expects of twice the labels come true? Learning curves from N images a class, against 2N of them.

For several N and seeds, on training images alone, the curve and its 95 % interval are made as in a run, of kernel ridge
regression at two scales with the usual settings. Then the same regression learns from 2N images a class, the N among
them, and is measured on all validation images. Test images are never opened.

    python benchmarks/expected_accuracy.py DATA/chest_xray DATA/lithology --out results/expected_accuracy.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import acclimate
from acclimate.backbones import load_backbone
from acclimate.data import ImageData, sample_shots
from acclimate.data.cache import default_cache_dir
from acclimate.methods.kernel_ridge import scale_shares
from acclimate.methods.parts import kernels, ridge
from acclimate.metrics import evaluate_classification
from acclimate.runs.learning_curve import expectation, learning_curve
from acclimate.runs.ranking import SCALES, scales_of
from acclimate.training.encoding import tiled_features
from acclimate.training.inputs import POOLED
from measuring import write_record

SHARES = scale_shares(2)
MOST_VAL = 12  # validation images a class where there are very many classes ...
MANY = 20  # ... of this number and more
WHAT = (
    "balanced accuracy (%), means over seeds; shots: N images a class; now, then: measured on validation images after "
    "N and 2N; expected: of 2N by the curve; off: by how much; held: seeds whose interval has what was measured then; "
    "width: of the interval"
)


def measured(train: list[Tensor], labels: Tensor, val: list[Tensor], truth: Tensor, classes: int) -> float:
    """Return the balanced accuracy on some images of what is learned from others."""
    targets = ridge.uniform_targets(F.one_hot(labels, classes).double())
    choice = ridge.usual_settings(train, SHARES)
    found = ridge.regress(train, targets, choice)
    scores = kernels.kernel_of(val, found.points, choice.betas, choice.shares) @ found.coefficients
    names = [str(number) for number in range(classes)]
    told = evaluate_classification(scores.softmax(-1).numpy(), truth.numpy(), names, resamples=1)
    return float(told["balanced_accuracy"]["value"])


def rows_of(data: ImageData, backbone: Any, shots: list[int], seeds: list[int]) -> list[dict[str, Any]]:
    """Return a row for every N of which the training images of each class have twice as many, or nearly."""
    cache, classes = default_cache_dir() / "features", len(data.class_names)
    pool = sample_shots(data.train, 2 * max(shots), 1) if classes >= MANY else data.train
    val = sample_shots(data.val, MOST_VAL, 1) if classes >= MANY else data.val
    known, others = (
        scales_of(tiled_features(backbone, part, SCALES.grid, cache, kind=POOLED), POOLED) for part in (pool, val)
    )
    row, labels = {key: number for number, key in enumerate(pool.keys)}, torch.from_numpy(pool.labels)
    truth, units = (
        torch.from_numpy(val.labels),
        [group or key for group, key in zip(pool.groups, pool.keys, strict=True)],
    )
    rows = []
    for few in shots:
        if 2 * few > 1.3 * min(pool.counts().values()):
            continue
        found = []
        for seed in seeds:
            now, then = ([row[key] for key in sample_shots(pool, some, seed).keys] for some in (few, 2 * few))
            curve = learning_curve([some[now] for some in known], SHARES, labels[now], [units[one] for one in now])
            assert curve is not None
            told = expectation(curve)["then"]
            both = [
                measured([some[part] for some in known], labels[part], others, truth, classes) for part in (now, then)
            ]
            found.append([*both, told["value"], told["low"] <= both[1] <= told["high"], told["high"] - told["low"]])
        first, second, expected, held, width = np.array(found, dtype=float).T
        rows.append({
            "data": data.name, "shots": few, "seeds": len(seeds),
            "now": 100 * first.mean(), "then": 100 * second.mean(),
            "expected": 100 * expected.mean(), "off": 100 * np.abs(expected - second).mean(), "held": int(held.sum()),
            "width": 100 * width.mean(),
        })  # fmt: skip
        rows[-1] = {key: round(value, 1) if isinstance(value, float) else value for key, value in rows[-1].items()}
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Expect, learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--shots", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = load_backbone(options.backbone)
    rows = []
    for path in options.data:
        data = acclimate.load_data(path)
        few = [some for some in options.shots if len(data.class_names) < MANY or some <= 16]
        rows += rows_of(data, backbone, few, options.seeds)
    held, seeds = (sum(row[key] for row in rows) for key in ("held", "seeds"))
    print(f"{held} of {seeds} intervals hold what was measured")
    if options.out:
        names = " ".join(f"DATA/{path.name}" for path in options.data)
        told = f"python benchmarks/expected_accuracy.py {names} --out {options.out}"
        write_record(options.out, told, WHAT, rows, held=held, of=seeds)


if __name__ == "__main__":
    main()
