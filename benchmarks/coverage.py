"""Whether prediction sets hold the right class as often as is asked, over splits of real data, and how large they are.

Each split has its own test images, its own shots and its own model; sets are made as `acclimate adapt` makes them, and
counted on the test images. Nothing is chosen by these figures. A record that is there is gone on with.

    python benchmarks/coverage.py DATA/lithology DATA/chest_xray DATA/sar_acd DATA/aid --out results/coverage.json
"""

from __future__ import annotations

import argparse
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acclimate.backbones import load_backbone
from acclimate.data import load_data
from measuring import adapt_calibrated, rows_of_record, write_record

FIGURES = ("coverage", "group_coverage", "balanced_coverage", "worst_class", "size")


def main() -> None:
    """Adapt to each split, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--methods", nargs="+", default=["linear-probe", "kernel-ridge"])
    parser.add_argument("--backbone", default="mini-clip")
    parser.add_argument("--shots", nargs="+", default=["16"])
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--out", type=Path, required=True, help="JSON record to write, or to go on with")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("acclimate").setLevel(logging.ERROR)
    backbone = load_backbone(options.backbone)
    rows: list[dict[str, Any]] = rows_of_record(options.out)
    places = " ".join(f"DATA/{path.name}" for path in options.data)
    command = f"python benchmarks/coverage.py {places} --shots {' '.join(options.shots)} --splits {options.splits}"
    for path in options.data:
        for split in range(1, options.splits + 1):
            data = load_data(path, split_seed=split)
            for shots in options.shots:
                for method in options.methods:
                    case = {"data": path.name, "shots": shots, "method": method, "split": split}
                    if any(case.items() <= row.items() for row in rows):
                        continue
                    rows.append(case | _measure(data, method, backbone, shots, split))
                    what = "sets by the coverage that is asked, on the test images of each split"
                    write_record(options.out, command + f" --methods {' '.join(options.methods)}", what, rows)
    options.out.with_suffix(".md").write_text(_table(rows), encoding="utf-8")
    print(_table(rows))


def _measure(data: Any, method: str, backbone: Any, shots: str, seed: int) -> dict[str, Any]:
    """Return what sets are worth on the test images of one split."""
    record = adapt_calibrated(data, method, backbone, shots, seed).record
    metrics, calibration = record["metrics"], record["calibration"]
    sets = {
        asked: {name: found[name]["value"] if name in ("coverage", "size") else found[name] for name in FIGURES}
        for asked, found in metrics["sets"].items()
    }
    return {
        "test_images": metrics["samples"],
        "classes": len(metrics["class_names"]),
        "accuracy": metrics["accuracy"]["value"],
        "held_out": calibration["held_out"],
        "temperature": calibration["temperature"],
        "nll": calibration["nll"],
        "sets": sets,
        "known": metrics["known"]["share"],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    """Return means over splits as a table, with the error that chance alone would leave of the mean coverage."""
    columns = ["set", "method", "splits", "asked", "rank", "coverage", "chance", "over groups", "over classes"]
    lines = [[*columns, "worst class", "classes in a set"]]
    for name, method, shots in dict.fromkeys((row["data"], row["method"], row["shots"]) for row in rows):
        own = [row for row in rows if (row["data"], row["method"], row["shots"]) == (name, method, shots)]
        n, m = own[0]["held_out"]["groups"], np.mean([row["test_images"] for row in own])
        for asked in own[0]["sets"]:
            c, found = float(asked), {key: [row["sets"][asked][key] for row in own] for key in FIGURES}
            rank = math.ceil((n + 1) * c - 1e-9) / (n + 1)
            chance = (rank * (1 - rank) * (1 / n + 1 / m) / len(own)) ** 0.5
            worst = [one["coverage"] for one in found["worst_class"]]
            shares = [found["group_coverage"], found["balanced_coverage"], worst]
            means = [f"{100 * np.mean(values):.1f}" for values in shares]
            cells = [
                f"{c:.0%}",
                f"{100 * rank:.1f}",
                f"{100 * np.mean(found['coverage']):.1f}",
                f"± {100 * chance:.1f}",
            ]
            size = f"{np.mean(found['size']):.2f} of {own[0]['classes']}"
            lines.append([name, method, str(len(own)), *cells, *means, size])
    lines.insert(1, ["---" for _ in lines[0]])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
