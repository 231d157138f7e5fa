"""The greedy rule of splits: nearest to the shares, but one image more may move many others.

The rule before the stable one; recorded results were made with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from acclimate.data.ordering import draw
from acclimate.data.units import Unit, served


def divide_greedily(members: Sequence[Unit], seed: int, shares: Mapping[str, float]) -> dict[Unit, str]:
    """Divide the units of one class.

    The largest unit goes first, units of the same size in hashed order, each to the split that lacks most images,
    counted over the class and over the unit's domain within the class. Splits that would stay empty although there are
    units enough come first at the end.
    """
    total = sum(len(unit.rows) for unit in members)
    within: Counter[str] = Counter()
    for unit in members:
        within[unit.domain] += len(unit.rows)
    lacking = {split: share * total for split, share in shares.items()}
    lacking_domain = {
        (split, domain): share * size for split, share in shares.items() for domain, size in within.items()
    }
    empty = set(served(shares, len(members)))
    ordered = sorted(members, key=lambda unit: (-len(unit.rows), draw(seed, "split", unit.name), unit.name))
    chosen = {}
    for done, unit in enumerate(ordered):
        scarce = len(members) - done <= len(empty)
        candidates = [
            split for split in ("train", "test", "val") if shares[split] > 0 and (split in empty or not scarce)
        ]
        split = max(candidates, key=lambda name: round(lacking[name] + lacking_domain[name, unit.domain], 6))
        chosen[unit] = split
        empty.discard(split)
        lacking[split] -= len(unit.rows)
        lacking_domain[split, unit.domain] -= len(unit.rows)
    return chosen
