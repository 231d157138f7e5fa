"""Shots: the few labelled images that a run may learn from, the same whatever the machine and the order of files."""

from __future__ import annotations

import logging
from collections import defaultdict
from numbers import Integral

from acclimate import arguments
from acclimate.counting import counted
from acclimate.data.dataset import ImageData
from acclimate.data.ordering import draw, some
from acclimate.errors import ConfigError

log = logging.getLogger("acclimate.data")

BUDGET = "budget:"


def parse_shots(text: int | str) -> int | str:
    """Return shots as the package writes them: a whole number from 1, "all", or "budget:N".

    Args:
        text: such a value, or its text: "16" for 16, "budget: 64" for "budget:64".

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(text, str):
        word = text.strip()
        if word == "all":
            return word
        prefix = BUDGET if word.startswith(BUDGET) else ""
        number = word.removeprefix(BUDGET).strip()
        if number.isascii() and number.isdigit() and int(number) >= 1:
            return f"{BUDGET}{int(number)}" if prefix else int(number)
    elif isinstance(text, Integral) and not isinstance(text, bool) and text >= 1:
        return int(text)
    raise ConfigError(
        f"`shots={arguments.shown(text)}`: give a whole number from 1 (images of every class), 'all', or 'budget:64' "
        "for 64 images in all"
    )


def parse_budget(text: int | str) -> str:
    """Return shots of images without classes to count by: "budget:N", and "all" for a number of each class, too.

    Raises:
        ConfigError: they are no shots.
    """
    shots = parse_shots(text)
    if isinstance(shots, str):
        return shots
    log.info(
        "`shots=%d` counts images of each class, and there are no classes here: all images are learned from; for %d in "
        "all give 'budget:%d'",
        shots,
        shots,
        shots,
    )
    return "all"


def sample_shots(data: ImageData, shots: int | str, seed: int) -> ImageData:
    """Draw the images that a run may learn from, at most one of a group while there are groups enough.

    With a number k, k images of every class (where images have several labels, those of each label and k that have
    none, each image once): those of a class have one order per seed, of which the first are taken,
    so the 1-shot sample is part of the 4-shot sample of the same seed. Domains are pooled: k is per class, not per
    class and domain. With "budget:N", N images in all, whatever their class: rare classes get few or none, as labels
    come in practice, in proportion to the images; a smaller budget is part of a larger one.

    Args:
        data: the images to draw from, usually `data.train`.
        shots: images per class, 1 or more, "all", or "budget:N". A class (or data) that has fewer gives all it has,
            which is logged.
        seed: seed of the draw.

    Raises:
        ConfigError: `shots` is none of these.
    """
    shots = parse_shots(shots)
    if shots == "all":
        return data.select(sorted(range(len(data)), key=data.keys.__getitem__))
    if isinstance(shots, str):
        budget = int(shots.removeprefix(BUDGET))
        chosen = _ranked(data, range(len(data)), seed, even=False)[:budget]
        if len(chosen) < budget:
            count = counted(len(chosen), "image")
            log.info("%s: has %s for a budget of %d and gives them all", data.name, count, budget)
        drawn = data.select(sorted(chosen, key=data.keys.__getitem__))
        none = [name for name, count in drawn.counts().items() if count == 0]
        if none:
            count = counted(len(none), "class", "classes")
            log.info("%s: a budget of %d holds no image of %s: %s", data.name, budget, count, some(none))
        return drawn
    chosen = list({row for rows in data.members() for row in _ranked(data, rows, seed)[:shots]})
    few = {name: count for name, count in data.counts().items() if count < shots}
    if few:
        listed = some([f"{name} ({count})" for name, count in few.items()], 8)
        have, give = ("class has", "gives all it has") if len(few) == 1 else ("classes have", "give all they have")
        log.info("%s: %d %s fewer than %d images and %s: %s", data.name, len(few), have, shots, give, listed)
    return data.select(sorted(chosen, key=data.keys.__getitem__))


def _ranked(data: ImageData, rows: range | list[int], seed: int, even: bool = True) -> list[int]:
    """Return rows in the order in which they are drawn: one of each group, then a second one, and so on.

    With `even`, groups are equally likely to come early; without, in proportion to their sizes, as when images are
    drawn one by one and a group that has given one is passed over.
    """
    keys, groups = data.keys, data.groups
    members: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for row in rows:
        members[bool(groups[row]), groups[row] or keys[row]].append(row)
    ranked = []
    for (_, name), inside in members.items():
        order = draw(seed, "shots-group", name)
        inner = sorted((draw(seed, "shots", keys[row]), keys[row], row) for row in inside)
        ranked += [(turn, order if even else own, name, row) for turn, (own, _, row) in enumerate(inner)]
    return [row for *_, row in sorted(ranked)]
