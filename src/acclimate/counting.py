"""How many things there are, in words that follow the number."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with the words for one thing or for several.

    Args:
        number: how many there are.
        one: for one, such as "image" or "image is".
        many: for any other number; by default `one` with an s.

    >>> counted(1, "image is", "images are"), counted(2, "row")
    ('1 image is', '2 rows')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"
