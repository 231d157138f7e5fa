"""`RunPart`: something optional that a run has, such as a warm start; the orchestrator asks each of them in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acclimate.methods import Method
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles


class RunPart:
    """Base of what is optional in a run; by default it does nothing.

    A part is made before anything is computed, and refuses then what cannot be done.
    """

    def files(self) -> Mapping[str, str]:
        """Return what of it decides the result, such as the hash of a file, by name."""
        return {}

    def ready(self, experiment: Experiment, files: RunFiles) -> None:
        """Do what has to be done before the method is made."""

    def begin(self, method: Method) -> None:
        """Give a method that has its initial values what it begins with."""

    def seen_before(self) -> frozenset[str]:
        """Return the sha256 of images that were seen before this run, beside its own."""
        return frozenset()

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return what the record says of it, after training."""
        return {}
