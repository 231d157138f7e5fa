"""Whether images of other domains are called unknown: AUROC of p-values and distances, and the share that is flagged.

Models of one shared set are shown validation images of their own set, which are known, those of the other sets, and
images of embedded domains. What `known` looks at was chosen with these very images; no test image is seen. A record
that is there is gone on with.

    python benchmarks/unknown.py DATA/aid DATA/chest_xray DATA/lithology DATA/sar_acd --out results/unknown.json
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from acclimate.backbones import load_backbone
from acclimate.data import ImageData, load_data
from acclimate.methods import Classifier
from acclimate.methods.trust import UNKNOWN, Known
from acclimate.metrics import area_under_roc, nearest_distances
from acclimate.runs import AdaptedModel
from acclimate.synthetic import list_domains, write_dataset
from acclimate.tasks.classified import probabilities
from acclimate.training.feeds import chunks
from measuring import adapt_calibrated, rows_of_record, write_record

PER_CLASS = 2  # images of each class in each acquisition domain of an embedded domain


def main() -> None:
    """Adapt, show, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--methods", nargs="+", default=["linear-probe", "kernel-ridge"])
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--shots", default="16")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, required=True, help="JSON record to write, or to go on with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("acclimate").setLevel(logging.ERROR)
    backbone = load_backbone(options.backbone)
    rows: list[dict[str, Any]] = rows_of_record(options.out)
    sets = {path.name: load_data(path) for path in options.data}
    command = f"python benchmarks/unknown.py {' '.join(f'DATA/{name}' for name in sets)} --shots {options.shots}"
    what = "validation images of other sets, and of embedded domains, against those of the set that was learned from"
    with tempfile.TemporaryDirectory() as folder:
        others = {name: data.val for name, data in sets.items()}
        for name in list_domains():
            others[f"embedded {name}"] = load_data(write_dataset(name, Path(folder) / name, per_class=PER_CLASS))
        for name, data in sets.items():
            for method in options.methods:
                for seed in options.seeds:
                    case = {"data": name, "method": method, "seed": seed}
                    if any(case.items() <= row.items() for row in rows):
                        continue
                    model = adapt_calibrated(data, method, backbone, options.shots, seed, tested=False)
                    rows.append(
                        case | _shown(model, data.val, {own: one for own, one in others.items() if own != name})
                    )
                    write_record(options.out, command, what, rows)
                print(name, method, flush=True)
    options.out.with_suffix(".md").write_text(_table(rows), encoding="utf-8")
    print(_table(rows))


def _shown(model: AdaptedModel, own: ImageData, others: dict[str, ImageData]) -> dict[str, Any]:
    """Return what a model says of its own validation images and of others."""
    assert model.trust is not None
    known = model.trust.known
    assert known is not None
    mine = _looked_at(model, own, known)
    found: dict[str, Any] = {}
    for name, data in others.items():
        theirs = _looked_at(model, data, known)
        found[name] = {
            "images": len(data),
            "auroc": area_under_roc(mine["distance"], theirs["distance"]),
            "auroc_of_p": area_under_roc(-mine["p"], -theirs["p"]),
            "unknown": float((theirs["p"] < UNKNOWN).mean()),
            "confidence": float(theirs["confidence"].mean()),
        }
    return {
        "reads": known.look.reads,
        "training_images": len(known.features),
        "own": {
            "images": len(own),
            "unknown": float((mine["p"] < UNKNOWN).mean()),
            "confidence": float(mine["confidence"].mean()),
        },
        "others": found,
    }


def _looked_at(model: AdaptedModel, data: ImageData, known: Known) -> dict[str, np.ndarray]:
    """Return distances, p-values and confidences (N,) of images."""
    method = cast("Classifier", model.method)
    feed, _, _ = model.feed_for(method, data)
    features = np.concatenate([known.look.features(batch) for batch in chunks(feed, 256)])
    return {
        "distance": nearest_distances(features, known.features),
        "p": known.p_known(features),
        "confidence": probabilities(method, feed).max(axis=1),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """Return means over seeds as a table: own images, other sets, embedded domains, and the hardest of them."""
    columns = ["learned from", "method", "own flagged", "other sets flagged", "AUROC", "embedded flagged", "AUROC"]
    lines = [[*columns, "hardest (AUROC)"], ["---"] * 8]
    for name, method in dict.fromkeys((row["data"], row["method"]) for row in rows):
        runs = [row for row in rows if (row["data"], row["method"]) == (name, method)]
        line = [name, method, f"{100 * np.mean([row['own']['unknown'] for row in runs]):.0f} %"]
        others = list(runs[0]["others"])
        for shown in ([one for one in others if embedded == one.startswith("embedded")] for embedded in (False, True)):
            flagged, auroc = (
                [row["others"][one][key] for row in runs for one in shown] for key in ("unknown", "auroc")
            )
            line += [f"{100 * np.mean(flagged):.0f} %", f"{np.mean(auroc):.3f}"]
        aurocs = {one: float(np.mean([row["others"][one]["auroc"] for row in runs])) for one in others}
        hardest = min(aurocs, key=lambda one: aurocs[one])
        lines.append([*line, f"{hardest} ({aurocs[hardest]:.3f})"])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
