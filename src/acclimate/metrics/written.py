"""Figures of classes that were written as text, where an answer may match none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def evaluate_written(answers: Sequence[int | None], labels: ArrayLike, classes: int) -> dict[str, Any]:
    """Return accuracy and macro F1 of written answers; one that matches no class is wrong, and counted apart.

    Macro F1 is the mean over the classes that occur in the labels: an answer that is none of them has no term of its
    own, which would lower the mean by a label that does not exist.

    Args:
        answers: for each of N images the class that the answer matches, or none.
        labels: (N,) classes in 0..C-1.
        classes: C.

    Returns:
        `accuracy` and `macro_f1`, each `{"value"}`, `unmatched`, the number of answers that match no class, and
        `samples`.

    >>> found = evaluate_written([0, None, 1], [0, 0, 1], 2)
    >>> found["unmatched"], round(found["accuracy"]["value"], 3), round(found["macro_f1"]["value"], 3)
    (1, 0.667, 0.833)
    """
    y = np.asarray(labels)
    guess = np.array([classes if answer is None else answer for answer in answers])
    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    np.add.at(matrix, (y, guess), 1)
    support, predicted, right = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    present = np.flatnonzero(support)
    scores = 2 * right[present] / (support + predicted)[present]
    return {
        "accuracy": {"value": float((guess == y).mean())},
        "macro_f1": {"value": float(scores.mean())},
        "unmatched": int((guess == classes).sum()),
        "samples": len(y),
    }
