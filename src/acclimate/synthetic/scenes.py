"""Scenes of which everything is known: what stands in an image, where and how large, before it is painted."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from acclimate.errors import ConfigError
from acclimate.synthetic.catalogue import get_domain, pick
from acclimate.synthetic.fields import generator
from acclimate.synthetic.rendering import check_numbers

PLACES = {"sar": "acclimate.synthetic.sar_places"}
"""The module that composes and paints the scenes of a domain."""


@dataclass(frozen=True)
class Thing:
    """One thing in a scene.

    Attributes:
        kind: a class of the domain.
        x: its middle, 0 at the left edge of the image and 1 at the right.
        y: the same from the top.
        length: its longest extent, as a share of the edge of the image.
        turned: its heading in radians, from right to down.
    """

    kind: str
    x: float
    y: float
    length: float
    turned: float


@dataclass(frozen=True)
class Scene:
    """What an image shows.

    Attributes:
        place: what kind of place it is.
        kinds: what could stand there.
        things: what does; one or more, none of which touches another or the edge.
        metres: edge of the image.
    """

    place: str
    kinds: tuple[str, ...]
    things: tuple[Thing, ...]
    metres: float


def list_scene_domains() -> tuple[str, ...]:
    """Names of the domains that have scenes."""
    return tuple(PLACES)


def kinds_of(domain: str) -> tuple[str, ...]:
    """Return what may stand in the scenes of a domain, sorted.

    Raises:
        ConfigError: an unknown domain, or one without scenes.
    """
    return tuple(sorted({kind for kinds in _painter(domain).PLACES.values() for kind in kinds}))


def _painter(domain: str) -> Any:
    get_domain(domain)
    if domain not in PLACES:
        raise ConfigError(f"synthetic domain {domain!r} has no scenes to ask about: choose one of {', '.join(PLACES)}")
    return importlib.import_module(PLACES[domain])


def render_scene(
    domain: str, acquisition: str, index: int, seed: int = 0, size: int = 128
) -> tuple[Image.Image, Scene]:
    """Return a scene and its image; the same arguments give the same on every call and in every process.

    Args:
        domain: one of `list_scene_domains()`.
        acquisition: one of the domain's acquisition domains.
        index: number of the scene, >= 0.
        seed: number of the whole collection.
        size: edge in pixels, 32 to 1024; the scene does not depend on it.

    Raises:
        ConfigError: an unknown name, a domain without scenes, or a number out of range.
    """
    painter = _painter(domain)
    pick(get_domain(domain), "acquisition", acquisition)
    check_numbers(index, size)
    scene, signatures = painter.compose(generator("scene", domain, index, seed))
    rng = generator("scene in an image", domain, acquisition, index, seed, size)
    values = painter.paint(scene, signatures, acquisition, rng, size)
    return Image.fromarray((np.clip(values, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8), mode="RGB"), scene
