"""Random orders that are the same on every machine: a seed, a purpose and a name, hashed."""

from __future__ import annotations

import hashlib


def draw(seed: int, purpose: str, name: str) -> str:
    """Return sha256 of "seed:purpose:name" in hex; names sorted by it are in a random order."""
    return hashlib.sha256(f"{seed}:{purpose}:{name}".encode("utf-8", "surrogateescape")).hexdigest()


def some(names: list[str] | tuple[str, ...], limit: int = 5) -> str:
    """Return the first names of a list, and how many more there are, for one line of a message."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown
