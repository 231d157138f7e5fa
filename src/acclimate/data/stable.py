"""The stable rule of splits: the place of every unit depends on its own name, so a new image moves hardly any other.

The units of a class stand in one order, that of their hashes, and the order is cut where the shares of the images
ask for it. One image more, or one less, moves a cut by less than one image. So in each class at most one unit crosses
each of the two cuts, and what crosses is at the border: nothing goes from train to test at once while there are
validation images between them.

Each class cuts at a place of its own between two units, drawn from its name, so that many small classes do not all
round alike (systematic sampling with a random start; Cochran 1977, Sampling Techniques, chapter 8). Domains interleave
in the order. A unit has its place among those of its own domain, as a share of their images, with a start of the domain
drawn likewise, and the orders of all domains are merged by it. A new image thus shifts the places in its own domain by
less than one image, and those of others not at all: at most two units cross each cut, however many domains there are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from acclimate.data.ordering import draw
from acclimate.data.units import SPLITS, Unit, served

_DIGITS = 13  # hex digits that a float holds exactly


def divide_stably(
    members: Sequence[Unit], seed: int, shares: Mapping[str, float], needed: Collection[str] | None = None
) -> dict[Unit, str]:
    """Divide the units of one class.

    Args:
        members: the units.
        seed: of the order.
        shares: of the images, by split; together 1.
        needed: splits that get a unit each, at most as many as there are units; by default those that they serve.
    """
    ordered = _ordered(members, seed)
    needed = served(shares, len(ordered)) if needed is None else needed
    start = _start(seed, ordered[0].label)
    points, total = [], 0
    for unit in ordered:
        points.append(total + start * len(unit.rows))
        total += len(unit.rows)
    cuts, share = [], 0.0
    for split in SPLITS[:-1]:
        share += shares[split]
        cuts.append(bisect_left(points, round(share * total, 6)))
    first, second = _serve(cuts, len(ordered), [int(split in needed) for split in SPLITS])
    parts = zip(SPLITS, (ordered[:first], ordered[first:second], ordered[second:]), strict=True)
    return {unit: split for split, part in parts for unit in part}


def _ordered(members: Iterable[Unit], seed: int) -> list[Unit]:
    """Return the units of a class in the order of their places."""
    domains: dict[str, list[tuple[str, Unit]]] = defaultdict(list)
    for unit in members:
        domains[unit.domain].append((draw(seed, "split", unit.name), unit))
    places = []
    for domain, inside in domains.items():
        start = _start(seed, f"{inside[0][1].label}:{domain}")
        total, before = sum(len(unit.rows) for _, unit in inside), 0
        for drawn, unit in sorted(inside, key=lambda one: (one[0], one[1].name)):
            places.append(((before + start * len(unit.rows)) / total, drawn, unit.name, unit))
            before += len(unit.rows)
    return [unit for *_, unit in sorted(places, key=lambda place: place[:-1])]


def _start(seed: int, name: str) -> float:
    """Return a number in [0, 1) that belongs to a name."""
    return int(draw(seed, "split-start", name)[:_DIGITS], 16) / 16**_DIGITS


def _serve(cuts: Sequence[int], number: int, least: Sequence[int]) -> tuple[int, int]:
    """Return cuts that leave each of the three splits at least so many units, as near as can be to the given ones."""
    train, val, test = least
    first = min(max(cuts[0], train), number - val - test)
    return first, min(max(cuts[1], first + val), number - test)
