"""Features at two scales, whole images and tiles: the settings that say what a method reads, and the reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.options import Checked, option
from acclimate.training.inputs import GRIDS, IMAGE, POOLED, tiled

if TYPE_CHECKING:
    from acclimate.backbones.backbone import Backbone
    from acclimate.training.batch import Batch


@dataclass(frozen=True, kw_only=True)
class Tiles(Checked):
    """Settings of methods that can read the tiles of an image beside the whole."""

    tiles: Literal["none", "mean", "spread", "mean+spread", "each"] = option(
        "none",
        "what is read of the tiles of an image, beside the whole: their mean, their standard deviation, both, or each",
        later=True,
    )
    grid: int = option(
        2,
        "tiles in a row, and in a column; each is cut from the original image",
        low=min(GRIDS),
        high=max(GRIDS),
        later=True,
    )


@dataclass(frozen=True, kw_only=True)
class Scales(Tiles):
    """Settings of methods that can read the image tower before its projection into the joint space, too."""

    features: Literal["projected", "before"] = option(
        "projected",
        "features of the image tower: in the joint space of images and texts, or before the projection into it",
        later=True,
    )

    @property
    def kind(self) -> str:
        """The kind of the backbone's features that is read."""
        return POOLED if self.features == "before" else IMAGE


@dataclass(frozen=True, kw_only=True)
class TwoScales(Scales):
    """The same, for methods whose defaults were chosen with both scales."""

    features: Literal["projected", "before"] = option(
        "before", "features of the image tower: before its projection into the joint space with texts, or in that space"
    )
    tiles: Literal["none", "mean", "spread", "mean+spread", "each"] = option(
        "mean+spread",
        "what is read of the tiles of an image, beside the whole: their mean, their standard deviation, both, or each",
    )


def input_of(config: Tiles, kind: str) -> str:
    """Return the input that holds features of a kind, and those of tiles where the settings ask for them."""
    return kind if config.tiles == "none" else tiled(kind, config.grid)


def check_kind(config: Scales, backbone: Backbone) -> None:
    """Refuse to read before a projection that a backbone does not have.

    Raises:
        ConfigError: so it is.
    """
    if config.kind not in backbone.widths:
        raise ConfigError(
            f"features={config.features}: '{backbone.name}' has no projection behind its image features; "
            "use features=projected"
        )


def scales(batch: Batch, config: Tiles, kind: str) -> list[Tensor]:
    """Return what is read of each image: the whole (B, F), L2-normalised, then, if asked for, its tiles (B, F').

    With unit features u_t of T tiles: their mean, their standard deviation (over T), these two side by side, or all u_t
    side by side, divided by the root of T.

    Args:
        batch: holds `input_of(config, kind)`.
        config: the settings.
        kind: of the features.
    """
    features = F.normalize(getattr(batch, input_of(config, kind)).float(), dim=-1)
    if config.tiles == "none":
        return [features]
    tiles = features[:, 1:]
    if config.tiles == "each":
        return [features[:, 0], tiles.flatten(1) / tiles.shape[1] ** 0.5]
    parts = {"mean": tiles.mean(1), "spread": tiles.std(1, correction=0)}
    return [features[:, 0], torch.cat([parts[name] for name in config.tiles.split("+")], dim=-1)]


def widths(config: Tiles, width: int) -> list[int]:
    """Return the widths of what `scales` gives, of features of some width."""
    if config.tiles == "none":
        return [width]
    return [width, width * (config.grid**2 if config.tiles == "each" else len(config.tiles.split("+")))]
