"""Random numbers that depend only on a seed and a name, never on what was drawn before.

A run that is killed and resumed draws the same numbers as an unbroken one because no generator state has to survive.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """Return a 63-bit seed from any printable parts, the same on every machine."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """Return a NumPy generator for the given parts."""
    return np.random.default_rng(derive_seed(*parts))


def seed_step(*parts: object) -> None:
    """Seed torch's default generators for one step, so that noise and dropout depend on the step alone."""
    torch.manual_seed(derive_seed(*parts) % (2**63 - 1))
