"""Settings of the ensemble."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from acclimate.errors import ConfigError
from acclimate.methods.auto.candidates import TRAINED
from acclimate.options import Checked, option

ALL = "suitable"


@dataclass(frozen=True, kw_only=True)
class AutoConfig(Checked):
    """Settings of the ensemble."""

    folds: int = option(
        5, "folds of the training images that parts are weighed by; 1: kernel ridge regression alone", low=1
    )
    leave_out: Literal["images", "domains"] = option(
        "images",
        "what a fold leaves out: images, groups kept together, or all images of one domain, so that parts are weighed "
        "for domains that are not among the training images; the text then counts as much as the images at first",
        later=True,
    )
    trained: str = option(
        "none",
        f"candidates that descend gradients: none, {ALL} (those that the models allow), or some of "
        f"{', '.join(TRAINED)}, separated by commas",
        later=True,
    )
    minutes: float | None = option(
        None,
        "time for them in minutes; those that it suffices for, by a measured step, are trained; none: all of them",
        low=0.0,
        later=True,
    )

    def __post_init__(self) -> None:
        """Refuse candidates that there are not, and time for none."""
        super().__post_init__()
        unknown = [name for name in self.names if name not in TRAINED]
        if unknown:
            raise ConfigError(
                f"trained={self.trained!r}: '{unknown[0]}' is no candidate; give {ALL}, or some of "
                f"{', '.join(TRAINED)}, separated by commas"
            )
        if self.minutes is not None and not self.names:
            raise ConfigError(f"minutes={self.minutes:g} is time for candidates, and trained=none; give trained={ALL}")

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates that descend gradients, each once, in the order in which a budget is spent on them."""
        if self.trained in ("none", ""):
            return ()
        if self.trained == ALL:
            return tuple(name for name, one in TRAINED.items() if not one.named)
        return tuple(dict.fromkeys(name.strip() for name in self.trained.split(",") if name.strip()))
