"""`RunOptions`: where and how a run is carried out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from acclimate import arguments
from acclimate.training.devices import Precision
from acclimate.training.progress import Progress, Silent
from acclimate.training.tracking import Tracker, check_tracker


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how a run is carried out, whatever it learns and from what; see `acclimate.adapt`.

    Attributes:
        out, overwrite, device, precision, cache_dir, progress, checkpoint_seconds: as in `adapt`, with which they share
            their defaults.
        shared: folder of runs that several runs build on; none: such runs lie in the run folder.
        track: name of a tracker that shows what is learned, see `acclimate.training.tracking`; none: nothing does.
        calibrated: whether a classifier keeps what sets and p-values of its predictions are made by.

    Raises:
        ConfigError: one of them is of a wrong type or out of its range.
    """

    out: str | os.PathLike[str] | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: Precision = "auto"
    cache_dir: Path | None = None
    progress: Progress = field(default_factory=Silent)
    checkpoint_seconds: float = 5.0
    shared: Path | None = None
    track: Tracker | None = None
    calibrated: bool = False

    def __post_init__(self) -> None:
        for name in ("out", "cache_dir"):
            object.__setattr__(self, name, arguments.optional(arguments.path, name, getattr(self, name)))
        arguments.one_of("precision", self.precision, get_args(Precision))
        arguments.progress("progress", self.progress)
        arguments.number("checkpoint_seconds", self.checkpoint_seconds, 0)
        if self.track is not None:
            check_tracker(self.track, self.out)  # type: ignore[arg-type]

    def of_part(self, out: Path | None) -> RunOptions:
        """Return those of a run that this one builds on, in a folder of its own."""
        return replace(self, out=out, overwrite=False, calibrated=False, track=None)
