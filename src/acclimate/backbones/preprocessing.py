"""The image transform that a folder asks for, checked against what its model takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acclimate.backbones.checkpoints import first_line
from acclimate.data.transforms import ImageTransform
from acclimate.errors import BackboneError, ConfigError

LARGEST = 8192  # side in pixels; one image of that size takes 800 MB


def image_transform(
    folder: Path, processor: Mapping[str, Any], default: str, taken: tuple[int, int] | None
) -> ImageTransform:
    """Return the transform of a folder's processor.

    Args:
        folder: to name in errors.
        processor: from `processor_config`.
        default: family of the processor, where its file names none.
        taken: height and width in pixels of the images that the model takes; none: it takes any.

    Raises:
        BackboneError: preprocessing that cannot be followed, or that makes other images than the model takes.
    """
    try:
        transform = ImageTransform.from_processor_config(processor, default)
        numbers = (*transform.mean, *transform.std, transform.rescale)
        finite = all(math.isfinite(number) for number in numbers) and transform.rescale != 0
    except (BackboneError, ConfigError) as error:
        raise BackboneError(f"{folder}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BackboneError(
            f"{folder}: preprocessor_config.json cannot be followed ({type(error).__name__}: {first_line(error)}); "
            "copy it from the original model"
        ) from error
    if not finite:
        raise BackboneError(
            f"{folder}: preprocessor_config.json makes pixels that are no numbers (mean {transform.mean}, std "
            f"{transform.std}, rescale {transform.rescale:g}); copy it from the original model"
        )
    given = transform.output_size
    if taken is not None and given != taken:
        raise BackboneError(
            f"{folder}: preprocessor_config.json makes images of {_size(given)} pixels, config.json says that the "
            f"model takes {_size(taken)}; use the files of one model"
        )
    if max(*given, *_edges(transform)) > LARGEST:
        raise BackboneError(
            f"{folder}: preprocessor_config.json scales images to {_size(max(given, _edges(transform)))} pixels, and "
            f"{LARGEST} a side are the most; write the size that the model was trained with"
        )
    return transform


def _edges(transform: ImageTransform) -> tuple[int, int]:
    """What images are scaled to before they are cropped."""
    resize = transform.resize
    return resize if isinstance(resize, tuple) else (resize or 1, resize or 1)


def _size(pair: tuple[int, int]) -> str:
    return "x".join(map(str, pair))
