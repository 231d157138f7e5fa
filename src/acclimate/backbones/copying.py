"""Copies of frozen encoders: within a process there is one of each, and another process opens its own from its place.

Pickled weights would make every task of a pool as large as the backbone. So an encoder that was loaded is pickled as
the place it came from and its identity, and opened once in each process. One that was made in memory has no place;
it is pickled with its weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import torch

from acclimate.backbones.hub import Place
from acclimate.errors import BackboneError

E = TypeVar("E", bound="Shared")

_OPEN: WeakValueDictionary[tuple[str, ...], Any] = WeakValueDictionary()


class Shared:
    """Base of frozen encoders.

    Attributes:
        place: where its files are; none: it was made in memory.
    """

    name: str
    family: str
    place: Place | None = None
    identity: Any
    device: Any
    dtype: Any

    def __repr__(self) -> str:
        """Name, family and where it computes."""
        kind = type(self).__name__
        return f"{kind}({self.name!r}, family={self.family!r}, device={self.device}, dtype={self.dtype})"

    def __copy__(self: E) -> E:
        """Return itself, which never changes."""
        return self

    def __deepcopy__(self: E, memo: dict[int, Any]) -> E:
        """Return itself, which never changes."""
        return self

    def reference(self, opener: Callable[..., Any]) -> tuple[Any, ...]:
        """Return how to open it in another process, for pickle.

        Args:
            opener: opens an encoder; takes its place, and `device` and `dtype`.
        """
        place = str(self.place.folder) if self.place is not None and self.place.local else self.name
        key = (type(self).__name__, place, self.identity, str(self.device), str(self.dtype))
        _OPEN[key] = self
        return open_again, (key, opener, self.name, str(self.device), self.dtype)


def open_again(key: tuple[str, ...], opener: Callable[..., Any], name: str, device: str, dtype: torch.dtype) -> Any:
    """Return the encoder that `Shared.reference` described: the one of this process, or a new one from its place.

    Raises:
        BackboneError: it is not there, or another one is.
    """
    if key in _OPEN:
        return _OPEN[key]
    _, place, identity, *_ = key
    gone = torch.device(device).type == "cuda" and not torch.cuda.is_available()
    try:
        found = opener(place, device="cpu" if gone else device, dtype=dtype)
    except BackboneError as error:
        raise BackboneError(
            f"this model was pickled on the encoder '{place}', which cannot be opened here ({error}); bring it to the "
            "same place, or load the run there with its place as `backbone`"
        ) from None
    if found.identity != identity:
        raise BackboneError(
            f"this model was pickled on the encoder '{place}' with identity {identity[:12]}, and here it has "
            f"{found.identity[:12]}; bring the original to that place"
        )
    found.name = name
    _OPEN[key] = found
    return found
