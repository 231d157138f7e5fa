"""The registry: a method's last line puts it here, and every table, test matrix and command reads it from here."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from acclimate import arguments
from acclimate.errors import ConfigError
from acclimate.methods.cards import GROUP
from acclimate.methods.contract import Method
from acclimate.modules import import_all
from acclimate.options import nearest

_METHODS: dict[str, type[Method]] = {}

logger = logging.getLogger("acclimate.methods")

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
    arguments.text("method", name)
    _discover()
    if name not in _METHODS:
        known = sorted(_METHODS)
        raise ConfigError(
            f"unknown method '{name}'{nearest(name, known)} (methods: {', '.join(known)}; one of another package: name "
            "its module with `plugin`)"
        )
    return _METHODS[name]


def load_plugin(plugin: str) -> str:
    """Import a module with methods that register themselves, and return a name by which other processes find it.

    Args:
        plugin: a module, which may lie in the working directory, or a path to a .py file.

    Raises:
        ConfigError: it cannot be imported.
    """
    path = Path(plugin)
    is_file = path.suffix == ".py" or os.sep in plugin
    try:
        if is_file:
            _import_file(path.resolve())
        elif (here := os.getcwd()) in sys.path:
            importlib.import_module(plugin)
        else:
            sys.path.append(here)  # other modules beside it may be imported later, too
            importlib.import_module(plugin)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"plugin {plugin}: cannot be imported ({type(error).__name__}: {reason}); mend it, or name a module that "
            "Python finds from here, or a .py file"
        ) from error
    return str(path.resolve()) if is_file else plugin


def _import_file(path: Path) -> None:
    loaded = sys.modules.get(path.stem)
    if loaded is not None:
        if getattr(loaded, "__file__", None) != str(path):
            raise ImportError(f"another module is named {path.stem}; rename the file")
        return
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no such file {path}")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


@cache
def _discover() -> None:
    """Import every module and package of this room, and what installed packages bring; once."""
    import_all("acclimate.methods")
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # one package that is broken must not take all methods with it
            logger.warning("methods of %s cannot be imported (%s)", point.value, " ".join(str(error).split()))
