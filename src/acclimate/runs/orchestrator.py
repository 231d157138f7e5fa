"""The one orchestrator: it carries out a run, goes on where it was killed, or loads it where it is finished."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from acclimate.metrics import flat_values
from acclimate.runs import folder
from acclimate.runs.run_files import RunFiles
from acclimate.runs.run_options import RunOptions
from acclimate.training.devices import make_accelerator, resolve_device
from acclimate.training.fit import FitContext
from acclimate.training.team import ALONE, Team
from acclimate.training.tracking import Tracking

if TYPE_CHECKING:
    from accelerate import Accelerator

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

    def shown(self) -> dict[str, Any]:
        """Return what a tracker shows of its settings, plain values by name."""
        return {"seed": self.seed}

    @abstractmethod
    def learn(self, files: RunFiles, context: FitContext) -> None:
        """Make what is learned, and learn it, or go on where the checkpoint stands."""

    @abstractmethod
    def describe(self, identity: str, context: FitContext) -> dict[str, Any]:
        """Measure what was learned, and return the record; `cost` has `seconds` by purpose."""

    @abstractmethod
    def finish(self, record: dict[str, Any], files: RunFiles) -> Result:
        """Write what was learned, its record last, and return the result."""


def _tracked(run: Run[Any], files: RunFiles, accelerator: Accelerator, place: Path | None) -> Tracking:
    """Begin to show what a run writes down."""
    tracking = Tracking(accelerator, place, run.shown(), afresh=not files.journal.lines)
    files.journal.watch = tracking.entry
    return tracking


def _figures(record: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the figures of the tests of a record, by test."""
    tests = {"test": record.get("metrics"), **(record.get("tests") or {})}
    return {name: flat_values(metrics) for name, metrics in tests.items() if metrics}


def carry_out(run: Run[Result], alone: bool = False) -> Result:
    """Carry out a run.

    Of several processes that `accelerate launch` has started, each takes its share of every batch; the first alone
    writes the folder and measures, and the others load what it has written. Without a folder each measures for itself.

    Args:
        run: what is carried out.
        alone: let this process carry it out by itself, whatever others do.

    Raises:
        AcclimateError: one of its subclasses, for anything that the caller can mend.
    """
    options, identity = run.options, run.identity()
    place = None if options.out is None else Path(options.out)
    accelerator = make_accelerator(resolve_device(options.device), options.precision, options.track, place)
    team = ALONE if alone else Team.of(accelerator)
    with team.first_first():
        files = RunFiles(options.out, identity, options.overwrite, run.layout, team)
    if finished := files.finished:
        done = run.reopen(finished, identity)
        team.wait()
        files.end()  # a run that was killed between its record and here has left its checkpoint
        return done
    files.begin(run.remark)
    tracking = _tracked(run, files, accelerator, place) if options.track and team.first else None
    started = time.monotonic()
    context = FitContext(
        accelerator,
        run.seed,
        files.journal,
        files.checkpoints,
        options.progress,
        options.checkpoint_seconds,
        team,
    )
    try:
        run.learn(files, context)
        record = run.describe(identity, context) if files.measures else None
    except KeyboardInterrupt as stop:
        if files.checkpoints.exists:
            stop.add_note("the same command goes on from the last checkpoint")
        raise
    if record is None:
        team.wait()
        return run.reopen(cast(Path, files.path), identity)
    record["cost"]["seconds"]["total"] = time.monotonic() - started
    if tracking is not None:
        tracking.metrics(_figures(record))
        tracking.end()
    result = run.finish(record, files)
    files.end()
    team.wait()
    return result
