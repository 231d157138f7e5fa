"""The one orchestrator: it carries out a run, goes on where it was killed, or loads it where it is finished."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from acclimate.runs import folder
from acclimate.runs.run_files import RunFiles
from acclimate.runs.run_options import RunOptions
from acclimate.training.devices import make_accelerator, resolve_device
from acclimate.training.fit import FitContext

Result = TypeVar("Result")


class Run(ABC, Generic[Result]):
    """What the orchestrator carries out.

    A run is made before anything is computed, and refuses then what cannot be done.

    Attributes:
        layout: what lies in its folder.
        options: where and how it is carried out.
        seed: of the initial values and the training.
    """

    layout: ClassVar[folder.Layout] = folder.ADAPTATION
    options: RunOptions
    seed: int

    @abstractmethod
    def identity(self) -> str:
        """Return a fingerprint of everything that decides the result."""

    @abstractmethod
    def reopen(self, path: Path, identity: str) -> Result:
        """Return the result of the finished run in a folder.

        Raises:
            RunError: it is another run.
        """

    def remark(self, path: Path) -> str:
        """Return what may explain, in a message, that the run in a folder is another one; or nothing."""
        return ""

    @abstractmethod
    def learn(self, files: RunFiles, context: FitContext) -> None:
        """Make what is learned, and learn it, or go on where the checkpoint stands."""

    @abstractmethod
    def describe(self, identity: str, context: FitContext) -> dict[str, Any]:
        """Measure what was learned, and return the record; `cost` has `seconds` by purpose."""

    @abstractmethod
    def finish(self, record: dict[str, Any], files: RunFiles) -> Result:
        """Write what was learned, its record last, and return the result."""


def carry_out(run: Run[Result]) -> Result:
    """Carry out a run.

    Raises:
        AcclimateError: one of its subclasses, for anything that the caller can mend.
    """
    options, identity = run.options, run.identity()
    files = RunFiles(options.out, identity, options.overwrite, run.layout)
    if files.finished:
        done = run.reopen(files.finished, identity)
        files.end()  # a run that was killed between its record and here has left its checkpoint
        return done
    files.begin(run.remark)
    started = time.monotonic()
    context = FitContext(
        make_accelerator(resolve_device(options.device), options.precision),
        run.seed,
        files.journal,
        files.checkpoints,
        options.progress,
        options.checkpoint_seconds,
    )
    try:
        run.learn(files, context)
        record = run.describe(identity, context)
    except KeyboardInterrupt as stop:
        if files.checkpoints.exists:
            stop.add_note("the same command goes on from the last checkpoint")
        raise
    record["cost"]["seconds"]["total"] = time.monotonic() - started
    result = run.finish(record, files)
    files.end()
    return result
