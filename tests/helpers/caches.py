"""Feature caches in any state between empty and full."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np


def thinned(full: Path, to: Path, seed: int) -> Path:
    """Copy a cache, each row with a chance of a half."""
    shutil.copytree(full, to)
    draw = np.random.default_rng(seed)
    for keys in sorted(to.glob("*/*.keys.npy")):
        rows = keys.with_name(keys.name.replace(".keys.", ".features."))
        stay = draw.random(len(np.load(keys))) < 0.5
        for path in (keys, rows):
            np.save(path, np.load(path)[stay])
    return to


def rows_in(cache: Path) -> int:
    """The number of rows of all caches in a folder."""
    return sum(len(np.load(keys)) for keys in cache.glob("*/*.keys.npy"))
