"""Packages that only some users need, which the extras of pyproject.toml install."""

from __future__ import annotations

import importlib
from types import ModuleType

from acclimate.errors import AcclimateError


def require(module: str, extra: str) -> ModuleType:
    """Import a module that comes with an extra.

    Args:
        module: its name.
        extra: name of the extra in pyproject.toml.

    Raises:
        AcclimateError: it is not there or cannot be imported; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise AcclimateError(
            f"cannot import {module!r} ({error}); install it with `pip install 'acclimate[{extra}]'`"
        ) from error
