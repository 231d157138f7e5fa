"""`RunFiles`: what a run leaves on disk while it goes on, and where it goes on after it was killed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from acclimate.data.frozen import freeze_splits
from acclimate.runs import folder
from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.journal import Journal

if TYPE_CHECKING:
    from acclimate.data import ImageData
    from acclimate.runs.model import AdaptedModel

logger = logging.getLogger("acclimate.runs")


class RunFiles:
    """The files of one run: a folder, or none, in which case everything stays in memory.

    Args:
        out: the run folder, made where there is none.
        identity: fingerprint of everything that decides the result.
        overwrite: forget what the folder holds.

    Raises:
        RunError: the folder holds other things, or cannot be made or read.
    """

    journal: Journal

    def __init__(self, out: str | os.PathLike[str] | None, identity: str, overwrite: bool = False) -> None:
        self.path = None if out is None else folder.open_folder(Path(out), overwrite)
        self.checkpoints = CheckpointFile(None if self.path is None else self.path / folder.CHECKPOINT, identity)

    @property
    def finished(self) -> Path | None:
        """The folder, where a run has ended in it."""
        return self.path if self.path is not None and (self.path / folder.RECORD).exists() else None

    def begin(self, splits: dict[str, ImageData], source: str, seed: int, shots: int | str) -> None:
        """Open the log where a killed run has left it, and write down which images are in which split."""
        checkpoint = self.checkpoints.load()
        if checkpoint is not None:
            logger.info("going on with the run in %s", self.path)
        if self.path is not None:
            freeze_splits(splits, self.path / folder.SPLITS, seed=seed, shots=shots, source=source, digests=True)
        self.journal = Journal(self.path and self.path / folder.LOG, checkpoint.position.journal if checkpoint else 0)

    def end(self, model: AdaptedModel) -> AdaptedModel:
        """Write the model and its record, drop the checkpoint, and return the model."""
        if self.path is not None:
            model.save(self.path)
            self.checkpoints.delete()
        return model
