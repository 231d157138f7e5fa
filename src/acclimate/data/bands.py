"""Which bands of an image are shown: three as red, green and blue, or one as grey, counted from 1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from acclimate import arguments
from acclimate.errors import ConfigError

MOST = 65_535  # bands that a TIFF can hold

Bands = tuple[int, ...]


def parse_bands(given: str | Sequence[int] | None) -> Bands | None:
    """Return the bands that are named, as in "4,3,2" or (4, 3, 2); none for none.

    Raises:
        ConfigError: something else, or a number that no band has.

    >>> parse_bands("4,3,2"), parse_bands([8])
    ((4, 3, 2), (8,))
    """
    if given is None:
        return None
    words = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, Sequence) else []
    numbers = [int(word) for word in map(str, words) if re.fullmatch(r"\s*\d{1,5}\s*", word)]
    if len(numbers) != len(words) or len(numbers) not in (1, 3) or not all(1 <= one <= MOST for one in numbers):
        raise ConfigError(
            f"`bands={arguments.shown(given)}`: name three bands for red, green and blue, or one, counted from 1, such "
            "as 4,3,2"
        )
    return tuple(numbers)


def named(bands: Bands) -> str:
    """Return bands as they are named, as in "4,3,2"."""
    return ",".join(map(str, bands))
