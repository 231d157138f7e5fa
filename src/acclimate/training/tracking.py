"""What a run writes down, shown by a tracker of Accelerate as it comes: TensorBoard, Weights & Biases or MLflow."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from acclimate import arguments
from acclimate.errors import AcclimateError, ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator

Tracker = Literal["tensorboard", "wandb", "mlflow"]
TRACKERS: tuple[Tracker, ...] = ("tensorboard", "wandb", "mlflow")
HERE = "tensorboard"  # folder in that of the run; what others keep is where they are told to keep it
PROJECT = "acclimate"  # what the others call all runs together


def check_tracker(track: Any, out: Path | None) -> None:
    """Refuse a tracker that cannot be used, before anything is computed.

    Raises:
        ConfigError: nobody knows it, or it writes into the run folder and there is none.
        AcclimateError: its package is not installed.
    """
    arguments.one_of("track", track, TRACKERS)
    if track == HERE and out is None:
        raise ConfigError(f"`track={track!r}` writes into the run folder; name one with `out`")
    try:
        importlib.import_module("torch.utils.tensorboard" if track == HERE else track)
    except ImportError as error:
        package = "'acclimate[track]'" if track == HERE else track
        raise AcclimateError(f"cannot import {track!r} ({error}); install it with `pip install {package}`") from error


class Tracking:
    """The tracker of one run.

    Args:
        accelerator: made with the tracker.
        run: the run folder, or none.
        settings: what is shown of the run, plain values by name.
        afresh: whether the run starts at its beginning, so that what an earlier one has left is forgotten.
    """

    def __init__(self, accelerator: Accelerator, run: Path | None, settings: Mapping[str, Any], afresh: bool) -> None:
        name = PROJECT if run is None else run.resolve().name
        here = accelerator.log_with and str(getattr(accelerator.log_with[0], "value", accelerator.log_with[0])) == HERE
        if here and run is not None and afresh:
            shutil.rmtree(run / HERE, ignore_errors=True)
        accelerator.init_trackers(
            HERE if here else PROJECT,
            config=None if here else {key: _plain(value) for key, value in settings.items()},
            init_kwargs={"wandb": {"name": name}, "mlflow": {"run_name": name}},
        )
        self.accelerator = accelerator
        if here:  # its table of settings would be a run of its own; text stands beside the curves
            self.log({f"settings/{key}": str(value) for key, value in settings.items()})

    def entry(self, entry: Mapping[str, Any]) -> None:
        """Show an entry of the journal: its numbers, by stage, at its epoch."""
        told = {key: value for key, value in entry.items() if key not in ("stage", "epoch") and _is_number(value)}
        self.log({f"{entry['stage']}/{key}": float(value) for key, value in told.items()}, int(entry.get("epoch", 0)))

    def metrics(self, tests: Mapping[str, Mapping[str, float]]) -> None:
        """Show the figures of each test, by its name."""
        self.log({f"{test}/{name}": value for test, figures in tests.items() for name, value in figures.items()})

    def log(self, values: Mapping[str, Any], step: int = 0) -> None:
        """Show values at a step."""
        for tracker in self.accelerator.trackers:
            tracker.log(dict(values), step=step)

    def end(self) -> None:
        """Close the tracker."""
        for tracker in self.accelerator.trackers:
            tracker.finish()


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else str(value)
