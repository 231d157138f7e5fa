"""Learning that goes on from what an earlier run has learned."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.errors import ConfigError
from acclimate.files import file_digest, read_json
from acclimate.runs import folder
from acclimate.runs.loading import load
from acclimate.runs.parts import RunPart
from acclimate.runs.seen import seen_by_run

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

logger = logging.getLogger("acclimate.runs")


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
        self.run, method = Path(run), experiment.method.name
        info = read_json(self.run / folder.ADAPTER_INFO, "give the folder of a finished run to `start`")
        if info.get("method") != method:
            raise ConfigError(
                f"`start={str(self.run)!r}` holds what {info.get('method')} has learned, and this run is of {method}"
            )
        self.config: Mapping[str, Any] = info.get("config") or {}
        earlier = load(self.run, experiment.backbone, domain_encoder=experiment.domain_encoder)
        self.state = {name: tensor.clone() for name, tensor in earlier.method.learned_state().items()}
        advice = "start from another run, or give the data the split of that run"
        self.seen = seen_by_run(self.run, f"`start={str(self.run)!r}`", advice)
        if not self.seen.all:
            logger.info("%s does not say which images it has seen, so that cannot be checked", self.seen.what)
        self.seen.check(experiment)
        self.sha256 = file_digest(self.run / folder.ADAPTER)

    def files(self) -> Mapping[str, str]:
        """Return the hash of the adapter."""
        return {"start": self.sha256}

    def begin(self, method: Method) -> None:
        """Put the learned tensors into the method.

        Raises:
            ConfigError: they are of other shapes, such as with other settings.
        """
        try:
            method.load_learned_state(self.state)
        except ConfigError as error:
            own = vars(method.config)
            other = [name for name in own if name in self.config and self.config[name] != own[name]]
            if not other:
                raise
            unlike = ", ".join(f"{name}={self.config[name]} there and {own[name]} here" for name in other)
            raise ConfigError(
                f"`start={str(self.run)!r}` holds tensors of other shapes than these settings have ({unlike}); give "
                "the settings of that run"
            ) from error

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return the earlier run and the hash of its adapter."""
        return {"start": {"run": str(self.run), "sha256": self.sha256}}

    def seen_before(self) -> frozenset[str]:
        """Return what the earlier run has seen, and those that it goes back to."""
        return self.seen.all
