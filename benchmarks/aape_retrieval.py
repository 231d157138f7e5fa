"""What AAPE brings to finding captions by images and images by captions: Recall@K (%) on the test split, over seeds.

Learns from the captions of the training split, with and without distillation, with the published generator and with one
that starts from the image itself. Nothing is chosen by these figures. Mean and standard deviation over seeds.

    python benchmarks/aape_retrieval.py DATA/flickr8k_1000 --out results/aape_retrieval.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

import acclimate
from acclimate.backbones import load_backbone
from acclimate.data import load_captions
from acclimate.data.cache import default_cache_dir
from acclimate.metrics.retrieval import CUTOFFS, DIRECTIONS
from measuring import write_record

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "zero-shot": ("zero-shot", {}),
    "aape": ("aape", {}),
    "aape, no distillation": ("aape", {"distillation_weight": 0}),
    "aape, residual": ("aape", {"generator": "residual"}),
    "aape, residual, no distillation": ("aape", {"generator": "residual", "distillation_weight": 0}),
}


def main() -> None:
    """Learn, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, help="JSON record to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, backbone = load_captions(options.data), load_backbone(options.backbone)
    cache, rows = default_cache_dir() / "features", []
    heads = [f"{way.rpartition('_')[2]} @{cutoff}" for way in DIRECTIONS for cutoff in CUTOFFS]
    print(f"{'':<32}" + "".join(f"{head:>14}" for head in heads))
    for label, (method, settings) in ROWS.items():
        found = []
        for seed in options.seeds:
            model = acclimate.adapt(data, method, backbone, seed=seed, settings=settings, cache_dir=cache)
            metrics = model.record["metrics"]
            found.append([100 * metrics[way][f"recall@{cutoff}"]["value"] for way in DIRECTIONS for cutoff in CUTOFFS])
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) if len(found) > 1 else np.zeros(6)
        rows.append({"row": label, "settings": settings, "recalls": found})
        cells = "".join(f"{f'{value:.1f} ± {sd:.1f}':>14}" for value, sd in zip(mean, spread, strict=True))
        print(f"{label:<32}{cells}", flush=True)
    if options.out:
        what = f"recall in percent by seed, {DIRECTIONS[0]} then {DIRECTIONS[1]} at {CUTOFFS}, test split"
        command = f"python benchmarks/aape_retrieval.py DATA/{options.data.name} --backbone {options.backbone}"
        write_record(options.out, command, what, rows, seeds=options.seeds)


if __name__ == "__main__":
    main()
