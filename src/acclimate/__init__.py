"""Adapt vision-language models to specialised domains from a few labelled images.

The whole interface: `load_data`, `load_captions`, `load_questions`, `adapt`, `load`, and the `AdaptedModel` that the
last two return. Everything is imported on first use, so that `import acclimate` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from acclimate.modules import on_first_use

__version__ = "0.1.0.dev0"

__all__ = [
    "AcclimateError",
    "AdaptedModel",
    "ImageData",
    "Progress",
    "__version__",
    "adapt",
    "load",
    "load_captions",
    "load_data",
    "load_questions",
]

_HOMES = {
    "AcclimateError": "errors",
    "AdaptedModel": "runs",
    "ImageData": "data",
    "Progress": "cli.progress",
    "adapt": "runs",
    "load": "runs",
    "load_captions": "data",
    "load_data": "data",
    "load_questions": "data",
}

if TYPE_CHECKING:
    from acclimate.cli.progress import Progress
    from acclimate.data import ImageData, load_captions, load_data, load_questions
    from acclimate.errors import AcclimateError
    from acclimate.runs import AdaptedModel, adapt, load


__getattr__ = on_first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
