"""Runs of a second."""

from __future__ import annotations

import acclimate

QUICK = {"epochs": 3, "context_tokens": 4, "batch_size": 8, "lr": 0.02}


def quick(data, backbone, **options):
    """A CoOp run of a second."""
    options = {"shots": 4, "domain": "natural", "settings": QUICK, "device": "cpu", **options}
    return acclimate.adapt(data, options.pop("method", "coop"), backbone, **options)
