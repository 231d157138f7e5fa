"""Which test images are worth a look: mistakes, doubts, types, and what is like nothing that was learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST = 18  # images of a gallery
EACH = 4  # of one class called another, among the mistakes

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Gallery:
    """Some images under a heading.

    Attributes:
        title: the heading.
        about: what they are, and how they were chosen, in a sentence.
        rows: of `predictions.parquet`.
        total: how many images there are of this kind.
    """

    title: str
    about: str
    rows: Sequence[Row] = field(default_factory=list)
    total: int = 0


def galleries_of_classes(rows: Sequence[Row]) -> Iterator[Gallery]:
    """Yield the galleries of a run on images with classes; those without an image are left out."""
    wrong = sorted((row for row in rows if row["label"] != row["predicted"]), key=lambda row: -row["probability"])
    if wrong:
        shown = _of_each(wrong, lambda row: (row["label"], row["predicted"]), EACH)
        about = f"Wrong, and sure of it: the most probable first, at most {EACH} of one class called another."
        yield Gallery("Most confident mistakes", about, shown, len(wrong))
    doubtful = sorted(rows, key=lambda row: row["probability"])
    yield Gallery("Least sure", "The least probable answers, right or wrong.", doubtful[:MOST], len(rows))
    right = sorted((row for row in rows if row["label"] == row["predicted"]), key=lambda row: -row["probability"])
    if right:
        classes = len({row["label"] for row in right})
        typical = _of_each(right, lambda row: row["label"], max(1, MOST // classes))
        yield Gallery("Most typical", "Right, and the most probable of their classes.", typical, len(right))
    unknown = sorted((row for row in rows if row.get("known") is False), key=lambda row: row["p_known"])
    if unknown:
        about = "Unlike the training images, by the p-value of their distance: answers about them mean little."
        yield Gallery("Unknown", about, unknown[:MOST], len(unknown))


def gallery_of_changes(rows: Sequence[Row], others: Sequence[Row], name: str) -> Gallery | None:
    """Return the images of which something else is said in an ablation; none where there are none.

    Args:
        rows: what is said of the images.
        others: what is said of the same images in the ablation; `instead` of a row that is shown.
        name: of the ablation, such as "without exemplar".
    """
    said = {row["key"]: row["predicted"] for row in others}
    changed = [
        {**row, "instead": f"{name}: {said[row['key']]}"} for row in rows if said[row["key"]] != row["predicted"]
    ]
    if not changed:
        return None
    shown = sorted(changed, key=lambda row: -row["probability"])[:MOST]
    return Gallery(f"Other answers {name}", f"Images of which something else is said {name}.", shown, len(changed))


def galleries_by(rows: Sequence[Row], measure: str, what: str) -> Iterator[Gallery]:
    """Yield the worst and the best by a measure, the higher the better.

    Args:
        rows: of the images.
        measure: the column that has it.
        what: what is measured, such as "captions".
    """
    ordered = sorted(rows, key=lambda row: float(row[measure]))
    yield Gallery(f"Worst {what}", "The lowest figures first.", ordered[:MOST], len(rows))
    yield Gallery(f"Best {what}", "The highest figures first.", ordered[::-1][:MOST], len(rows))


def _of_each(rows: Sequence[Row], kind: Any, most: int) -> list[Row]:
    """Return the first rows, of each kind no more than so many."""
    seen: dict[Any, int] = {}
    found: list[Row] = []
    for row in rows:
        seen[kind(row)] = seen.get(kind(row), 0) + 1
        if seen[kind(row)] <= most:
            found.append(row)
    return found[:MOST]
