"""What options mean to the rest of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acclimate.cli.options import OnCorrupt, SplitRule


def use_plugins(plugins: list[str] | None) -> list[str]:
    """Import modules with methods, and return how other processes find them."""
    if not plugins:
        return []  # without torch
    from acclimate.methods import load_plugin

    return [load_plugin(name) for name in plugins]


def reading(
    layout: str,
    images_root: Path | None,
    split_seed: int,
    split_rule: SplitRule,
    split_from: Path | None,
    on_corrupt: OnCorrupt = OnCorrupt.error,
    bands: str | None = None,
) -> dict[str, Any]:
    """Return what these options mean for `load_data` and whatever else reads DATA."""
    return {
        "layout": layout,
        "images_root": images_root,
        "split_seed": split_seed,
        "split_rule": split_rule.value,
        "split_from": split_from,
        "on_corrupt": on_corrupt.value,
        **({"bands": bands} if bands else {}),
    }


def feature_cache(no_cache: bool) -> Path | None:
    """Return the folder of the feature cache, or none."""
    from acclimate.data.cache import default_cache_dir

    return None if no_cache else default_cache_dir() / "features"
