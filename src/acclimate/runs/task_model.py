"""The task-specific model that a run makes for itself: a domain encoder fine-tuned on the run's own training images."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acclimate.options import make_config
from acclimate.pretraining.classifier import ClassifierConfig
from acclimate.runs import folder
from acclimate.runs.classifiers import ClassifierPretraining, TrainedClassifier
from acclimate.runs.labelled_sets import sets_of_trial
from acclimate.runs.orchestrator import carry_out
from acclimate.runs.parts import RunPart
from acclimate.runs.prerequisites import locked

if TYPE_CHECKING:
    from pathlib import Path

    from acclimate.backbones import DomainEncoder
    from acclimate.methods import Method, TaskModel
    from acclimate.runs.experiment import Experiment
    from acclimate.runs.run_files import RunFiles

logger = logging.getLogger("acclimate.runs")


class OwnTaskModel(RunPart):
    """A classifier that is trained before the run, in a folder named by what decides it, and found there again.

    Args:
        wanted: what it is made from.
        start: the encoder that it begins with, loaded.
        experiment: the run whose images it learns from.
    """

    def __init__(self, wanted: TaskModel, start: DomainEncoder, experiment: Experiment) -> None:
        config: Any = make_config(ClassifierConfig, wanted.settings)
        prompts = {experiment.trial.train.name: experiment.prompts, **experiment.test_prompts}
        domains = {name: told.domain for name, told in prompts.items()}
        images = sets_of_trial(experiment.trial, config, domains)
        self.joint, self.made_from = len(images) > 1, (images, start, config, experiment.seed)
        self.shots, self.start = experiment.shots, start.name
        self.identity = ClassifierPretraining(*self.made_from, experiment.options.of_part(None)).identity()
        self.made: TrainedClassifier | None = None

    def files(self) -> Mapping[str, str]:
        """Return what decides it."""
        return {"task-specific model": self.identity}

    def ready(self, experiment: Experiment, files: RunFiles) -> None:
        """Train it, unless it is there, and give it to the run."""
        started, store = (
            time.monotonic(),
            experiment.options.shared or (files.path and files.path / folder.PREREQUISITES),
        )
        place: Path | None = store and store / self.identity[:16]
        logger.info(
            "no domain encoder is named: a task-specific model is made first, %s fine-tuned on the same images",
            self.start,
        )
        options = experiment.options.of_part(place)
        with files.team.first_first(), locked(place):
            training = ClassifierPretraining(*self.made_from, options, shots=self.shots)
            self.made = carry_out(training, alone=True)
        experiment.domain_encoder, experiment.encoder_learned = self.made.encoder, frozenset(training.learned)
        experiment.spend("task-specific model", started)

    def finish(self, method: Method, experiment: Experiment, files: RunFiles) -> Mapping[str, Any]:
        """Return where it comes from, and what it is worth alone."""
        assert self.made is not None
        record = self.made.record
        told = {name: record[name] for name in ("identity", "from", "settings", "kept_epoch")}
        tests = record["tests"]
        alone = {"tests": tests} if self.joint else {"metrics": next(iter(tests.values()))}
        return {"task_model": {**told, **alone}}
