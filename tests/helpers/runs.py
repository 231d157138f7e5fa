"""Runs of a second."""

from __future__ import annotations

import json
from pathlib import Path

import acclimate

QUICK = {"epochs": 3, "context_tokens": 4, "batch_size": 8, "lr": 0.02}


def quick(data, backbone, **options):
    """A CoOp run of a second."""
    options = {"shots": 4, "domain": "natural", "settings": QUICK, "device": "cpu", **options}
    return acclimate.adapt(data, options.pop("method", "coop"), backbone, **options)


def forget_places(run: Path) -> None:
    """Take the places of its encoders from a run, as an earlier version left it."""
    record = json.loads((run / "record.json").read_text())
    del record["places"]
    (run / "record.json").write_text(json.dumps(record))
