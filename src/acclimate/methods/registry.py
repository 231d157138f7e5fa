"""The registry: a method's last line puts it here, and every table, test matrix and command reads it from here."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TypeVar

from acclimate.errors import ConfigError
from acclimate.methods.contract import Method
from acclimate.options import nearest

_METHODS: dict[str, type[Method]] = {}

M = TypeVar("M", bound=type[Method])


def register(method: M) -> M:
    """Register a method class under its `name`."""
    if method.name in _METHODS and _METHODS[method.name] is not method:
        raise ValueError(f"two methods are named '{method.name}'")
    _METHODS[method.name] = method
    return method


def list_methods() -> tuple[type[Method], ...]:
    """Return all method classes, by name."""
    _discover()
    return tuple(_METHODS[name] for name in sorted(_METHODS))


def get_method(name: str) -> type[Method]:
    """Return the method class of a name.

    Raises:
        ConfigError: for an unknown name, with the nearest known one.
    """
    _discover()
    if name not in _METHODS:
        known = sorted(_METHODS)
        raise ConfigError(f"unknown method '{name}'{nearest(name, known)} (methods: {', '.join(known)})")
    return _METHODS[name]


def _discover() -> None:
    """Import every room of this package once; a new method needs its folder and nothing else."""
    package = importlib.import_module("acclimate.methods")
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            importlib.import_module(f"acclimate.methods.{module.name}")
