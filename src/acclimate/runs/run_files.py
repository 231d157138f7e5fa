"""`RunFiles`: what a run leaves on disk while it goes on, and where it goes on after it was killed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from acclimate.errors import RunError
from acclimate.runs import folder
from acclimate.training.checkpoint import CheckpointFile
from acclimate.training.journal import Journal

logger = logging.getLogger("acclimate.runs")


class RunFiles:
    """The files of one run: a folder, or none, in which case everything stays in memory.

    Args:
        out: the run folder, made where there is none.
        identity: fingerprint of everything that decides the result.
        overwrite: forget what the folder holds.
        layout: what may lie in it.

    Raises:
        RunError: the folder holds other things, or cannot be made or read.
    """

    journal: Journal

    def __init__(
        self,
        out: str | os.PathLike[str] | None,
        identity: str,
        overwrite: bool = False,
        layout: folder.Layout = folder.ADAPTATION,
    ) -> None:
        self.path = None if out is None else folder.open_folder(Path(out), overwrite, layout)
        self.checkpoints = CheckpointFile(None if self.path is None else self.path / folder.CHECKPOINT, identity)

    @property
    def finished(self) -> Path | None:
        """The folder, where a run has ended in it."""
        return self.path if self.path is not None and (self.path / folder.RECORD).exists() else None

    def begin(self, remark: Callable[[Path], str] = lambda path: "") -> None:
        """Open the log where a killed run has left it.

        Args:
            remark: what may explain that the run in the folder is another one.

        Raises:
            RunError: the folder holds a checkpoint of another run, or a damaged one.
        """
        try:
            checkpoint = self.checkpoints.load()
        except RunError as error:
            raise RunError(f"{error}{remark(self.path) if self.path else ''}") from None
        if checkpoint is not None:
            logger.info("going on with the run in %s", self.path)
        self.journal = Journal(self.path and self.path / folder.LOG, checkpoint.position.journal if checkpoint else 0)

    def end(self) -> None:
        """Drop the checkpoint of a run that is complete."""
        self.checkpoints.delete()
