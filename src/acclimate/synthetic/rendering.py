"""One image as a pure function of its arguments."""

from __future__ import annotations

import importlib
from typing import Protocol, cast

import numpy as np
from PIL import Image

from acclimate.errors import ConfigError
from acclimate.synthetic.catalogue import get_domain, pick
from acclimate.synthetic.fields import generator


class Painter(Protocol):
    """What a domain's module offers: an image in [0, 1], and the unit of origin that an image shares with others."""

    def paint(self, class_name: str, acquisition: str, rng: np.random.Generator, size: int, seed: int) -> np.ndarray:
        """Display values, (size, size, 3), in [0, 1]."""
        ...


SMALLEST, LARGEST = 32, 1024


def render(domain: str, class_name: str, acquisition: str, index: int, seed: int = 0, size: int = 128) -> Image.Image:
    """Render one image; the same arguments give the same bytes on every call and in every process.

    Args:
        domain: one of `list_domains()`.
        class_name: one of the domain's classes.
        acquisition: one of the domain's acquisition domains.
        index: number of the image, >= 0; different numbers are different scenes.
        seed: number of the whole collection.
        size: edge in pixels, 32 to 1024; the field of view does not depend on it, the random draw does.

    Raises:
        ConfigError: an unknown name, or a number out of range.
    """
    described = get_domain(domain)
    pick(described, "class", class_name)
    pick(described, "acquisition", acquisition)
    check_numbers(index, size)
    painter = cast(Painter, importlib.import_module(f"acclimate.synthetic.{domain}"))
    rng = generator("picture", domain, class_name, acquisition, index, seed, size)
    values = painter.paint(class_name, acquisition, rng, size, seed)
    return Image.fromarray((np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), mode="RGB")


def check_numbers(index: int, size: int) -> None:
    """Refuse a number of an image, or a size in pixels, that cannot be.

    Raises:
        ConfigError: so it is.
    """
    if index < 0:
        raise ConfigError(f"index {index} of a synthetic image is negative: use 0, 1, 2, ...")
    if not SMALLEST <= size <= LARGEST:
        raise ConfigError(f"size {size} of a synthetic image is out of range: use {SMALLEST} to {LARGEST} pixels")


def group_of(domain: str, class_name: str, acquisition: str, index: int, seed: int, size: int) -> str:
    """Name of what an image must share a split with: itself, or all images cut from one solver run."""
    painter = importlib.import_module(f"acclimate.synthetic.{domain}")
    if hasattr(painter, "run_of"):
        rng = generator("picture", domain, class_name, acquisition, index, seed, size)
        run = painter.run_of(class_name, rng)
        if run is not None:
            return f"{class_name}/run{run:02d}"
    return f"{class_name}/{acquisition}/{index:04d}"
