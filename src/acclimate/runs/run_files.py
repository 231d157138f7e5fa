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
from acclimate.training.team import ALONE, Team

logger = logging.getLogger("acclimate.runs")


class RunFiles:
    """The files of one run: a folder, or none, in which case everything stays in memory.

    Args:
        out: the run folder, made where there is none.
        identity: fingerprint of everything that decides the result.
        overwrite: forget what the folder holds.
        layout: what may lie in it.
        team: the processes that carry it out, of which the first writes and the others read.

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
        team: Team = ALONE,
    ) -> None:
        self.team, self.path = team, None if out is None else Path(out)
        if self.path is not None and team.first:
            self.path = folder.open_folder(self.path, overwrite, layout)
        self.checkpoints = CheckpointFile(None if self.path is None else self.path / folder.CHECKPOINT, identity)

    @property
    def finished(self) -> Path | None:
        """The folder, where a run has ended in it."""
        ended = self.path is not None and (self.path / folder.RECORD).exists()
        return self.path if self.team.agree(ended) else None

    @property
    def measures(self) -> bool:
        """Whether this process says what the result is worth; others read it, where there is a folder."""
        return self.team.first or self.path is None

    @property
    def written(self) -> Path | None:
        """The folder, where this process writes into it."""
        return self.path if self.team.first else None

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
        log = self.written and self.written / folder.LOG
        self.journal = Journal(log, checkpoint.position.journal if checkpoint else 0)

    def end(self) -> None:
        """Drop the checkpoint of a run that is complete."""
        if self.team.first:
            self.checkpoints.delete()
