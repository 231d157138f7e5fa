"""Which column of a table is the image, and which the label, where nothing but their names and kinds says so."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from acclimate.data.ordering import some
from acclimate.errors import DataError

IMAGES = ("image", "img", "picture", "photo", "pixels", "jpg", "png")
"""Usual names of columns of images, in lower case, the most usual first."""

LABEL = "label"
LABELS = (LABEL, "labels", "class", "category", "target", "fine_label", "cls", "y")
"""Usual names of columns of labels, likewise."""


class Facts(NamedTuple):
    """What a file says of an image: all texts, "" for nothing."""

    label: str = ""
    domain: str = ""
    group: str = ""
    split: str = ""


def in_usual_order(names: Iterable[str]) -> list[str]:
    """Return the names of columns of images, the most usual first."""
    return sorted(names, key=lambda name: IMAGES.index(name.lower()) if name.lower() in IMAGES else len(IMAGES))


def usual_label(
    title: str, columns: Sequence[str], wanted: Sequence[str] = LABELS, classes: Collection[str] = ()
) -> str | None:
    """Return the column of labels: `label`, or else the only one whose name or kind says that it is; none without any.

    Args:
        title: of the table, for messages.
        columns: those of the table.
        wanted: names that say so, in lower case.
        classes: columns whose kind says so.

    Raises:
        DataError: there are several, and none of them is `label`.
    """
    found = {column.strip().lower(): column for column in reversed(columns)}
    if LABEL in found:
        return found[LABEL]
    usual = [found[name] for name in wanted if name in found]
    candidates = [column for column in usual if column in classes] or usual or list(classes)
    if len(candidates) > 1:
        raise DataError(
            f"{title}: {some(candidates)} may each be the column of labels; rename the one to learn to 'label'"
        )
    return candidates[0] if candidates else None
