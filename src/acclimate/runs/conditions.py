"""`Conditions`: where and how a run is carried out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from acclimate.training.devices import Precision
from acclimate.training.progress import Progress, Silent


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Where and how a run is carried out, whatever it learns and from what; see `acclimate.adapt`.

    Attributes:
        out, overwrite, device, precision, cache_dir, progress, checkpoint_seconds, start, look_at: as in `adapt`, with
            which they share their defaults.
    """

    out: str | os.PathLike[str] | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: Precision = "auto"
    cache_dir: Path | None = None
    progress: Progress = field(default_factory=Silent)
    checkpoint_seconds: float = 5.0
    start: str | os.PathLike[str] | None = None
    look_at: Sequence[str] = ()

    def of_part(self, out: Path | None) -> Conditions:
        """Return those of a run that this one builds on, in a folder of its own."""
        return replace(self, out=out, overwrite=False, start=None, look_at=())

    def named(self) -> dict[str, str]:
        """Return what of `look_at` enters the identity of a run."""
        return {"look_at": "\n".join(self.look_at)} if self.look_at else {}
