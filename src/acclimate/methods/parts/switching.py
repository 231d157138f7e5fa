"""Predicting otherwise for a while, as ablations do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def switched(owner: object, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value within this context."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
