"""What `record.json` says of every run, whatever it has learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.training.environment import environment, peak_memory

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.methods import Method

PRECISIONS = {"no": "fp32"}  # accelerate's words, and ours


def run_record(
    method: Method,
    identity: str,
    *,
    metrics: Mapping[str, Any] | None,
    tests: Mapping[str, Any],
    baselines: Mapping[str, Any],
    splits: Mapping[str, ImageData],
    splits_hash: str,
    shots: int | str,
    seed: int,
    precision: str,
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return a record, ready for JSON.

    Args:
        method: after its training.
        identity: fingerprint of everything that decides the result.
        metrics: of the test split.
        tests: metrics of other tests, by their names.
        baselines: metrics of other methods on the test split, by their names.
        splits: the images of the run; "train" is among them.
        splits_hash: which image was in which split.
        shots, seed: as in `adapt`.
        precision: the mixed precision of the accelerator.
        seconds: wall-clock time by purpose.
    """
    train, backbone = splits["train"], method.backbone
    return {
        "identity": identity,
        "method": method.name,
        "metrics": metrics,
        "tests": dict(tests),
        "baselines": dict(baselines),
        "data": {
            "name": train.name,
            "split": train.split_origin,
            "images": {name: len(part) for name, part in splits.items()},
            "splits_hash": splits_hash,
            "skipped": list(train.skipped),
        },
        "shots": shots,
        "seed": seed,
        "precision": PRECISIONS.get(precision, precision),
        "backbone": {"id": backbone.name, "fingerprint": backbone.fingerprint},
        "cost": {
            "seconds": dict(seconds),
            "peak_memory": peak_memory(backbone.device),
            "learned_parameters": method.learned_parameters(),
        },
        "environment": environment(backbone.device),
    }
