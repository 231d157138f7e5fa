"""Learning that goes on from what an earlier run has learned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.errors import ConfigError
from acclimate.runs.earlier import open_earlier
from acclimate.runs.parts import RunPart

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles


class WarmStart(RunPart):
    """What a run begins with, in place of values drawn from the seed: the learned tensors of an earlier run.

    Args:
        run: folder of the earlier run.
        experiment: this one.

    Raises:
        RunError: `run` is no finished run, or has another backbone or domain encoder.
        ConfigError: it has another method.
        DataError: it has seen images that this run will be measured on.
    """

    def __init__(self, run: str | os.PathLike[str], experiment: Experiment) -> None:
        self.run, name = Path(run), f"`start={str(run)!r}`"
        self.earlier = open_earlier(
            self.run,
            experiment.method.name,
            experiment.backbone,
            experiment.domain_encoder,
            experiment,
            what=name,
            missing="give the folder of a finished run to `start`",
            other=f", and this run is of {experiment.method.name}",
            advice="start from another run, or give the data the split of that run",
        )
        self.state = {name: tensor.clone() for name, tensor in self.earlier.method.learned_state().items()}

    def files(self) -> Mapping[str, str]:
        """Return the hash of the adapter."""
        return {"start": self.earlier.sha256}

    def begin(self, method: Method) -> None:
        """Put the learned tensors into the method.

        Raises:
            ConfigError: they are of other shapes, such as with other settings.
        """
        try:
            method.load_learned_state(self.state)
        except ConfigError as error:
            own, then = vars(method.config), vars(self.earlier.method.config)
            other = [name for name in own if then[name] != own[name]]
            if not other:
                raise
            unlike = ", ".join(f"{name}={then[name]} there and {own[name]} here" for name in other)
            raise ConfigError(
                f"`start={str(self.run)!r}` holds tensors of other shapes than these settings have ({unlike}); give "
                "the settings of that run"
            ) from error

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return the earlier run and the hash of its adapter."""
        return {"start": {"run": str(self.run), "sha256": self.earlier.sha256}}

    def seen_before(self) -> frozenset[str]:
        """Return what the earlier run has seen, and those that it goes back to."""
        return self.earlier.seen.all
