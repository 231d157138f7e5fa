"""Adapt vision-language models to specialised domains from a few labelled images.

The whole interface: `load_data`, `adapt`, `load`, and the `AdaptedModel` that the last two return. Everything is
imported on first use, so that `import acclimate` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

__all__ = ["AcclimateError", "AdaptedModel", "ImageData", "__version__", "adapt", "load", "load_data"]

_HOMES = {
    "AcclimateError": "acclimate.errors",
    "AdaptedModel": "acclimate.runs",
    "ImageData": "acclimate.data",
    "adapt": "acclimate.runs",
    "load": "acclimate.runs",
    "load_data": "acclimate.data",
}

if TYPE_CHECKING:
    from acclimate.data import ImageData, load_data
    from acclimate.errors import AcclimateError
    from acclimate.runs import AdaptedModel, adapt, load


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'acclimate' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
