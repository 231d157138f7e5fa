"""`Experiment`: what is learned from what, shared by a method and the baselines beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from acclimate.backbones.backbone import as_dual
from acclimate.data import ImageData
from acclimate.data.frozen import assignment_hash, freeze_splits, split_table
from acclimate.errors import ConfigError
from acclimate.files import fingerprint
from acclimate.methods import ClassSet, Method, Prerequisite, TrainingFacts, get_method
from acclimate.options import identifying, make_config
from acclimate.prompts import PromptSet, ReferencePrompts, open_reference_prompts
from acclimate.protocols import Trial
from acclimate.runs.kept_predictions import Table, predictions_table
from acclimate.runs.run_options import RunOptions
from acclimate.runs.seen import rows_among
from acclimate.tasks import Task, task_of
from acclimate.training.feeding import evaluation_feed, training_feed
from acclimate.training.feeds import Feed, RepeatedFeed
from acclimate.training.fit import FitContext, fit
from acclimate.training.inputs import VIEWS, Given
from acclimate.training.progress import Timed
from acclimate.training.seeding import seed_step
from acclimate.training.stages import SolverStage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.backbones.backbone import Backbone


@dataclass(kw_only=True)
class Experiment:
    """What is learned from what: task, images, encoders and prompts, shared by a method and its baselines.

    Attributes:
        task: what is learned.
        trial: what a protocol has drawn.
        method, config: the method and its settings.
        backbone: frozen.
        prompts: words and templates of the classes.
        shots: what was drawn: images per class, `all`, or `budget:N`.
        seed: of the initial values and the training.
        options: where and how it is carried out.
        test_prompts: words and templates of the tests that have others than the training images, by name.
        domain_encoder: frozen encoder of the domain, for methods that read one.
        reference_prompts: sentences that describe the classes, for methods that learn from them.
        scorer: dual encoder that judges written captions, or none.
        seconds: time spent, by what it was spent on.
        hits: which images of a test each method was right on, by test and method.
        encoder_learned: sha256 of the images that the domain encoder has learned from, as far as is known.
        kept: what the method has said of the images of each test, see `predictions_table`.
    """

    task: Task[Any]
    trial: Trial
    method: type[Method]
    config: Any
    backbone: Backbone
    prompts: PromptSet
    shots: int | str
    seed: int
    options: RunOptions
    test_prompts: Mapping[str, PromptSet] = field(default_factory=dict)
    domain_encoder: DomainEncoder | None = None
    reference_prompts: ReferencePrompts | None = None
    scorer: DualEncoder | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    hits: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    encoder_learned: frozenset[str] = frozenset()
    kept: list[Table] = field(default_factory=list)
    _feeds: dict[tuple[str, frozenset[str]], Feed] = field(default_factory=dict)

    @cached_property
    def splits(self) -> dict[str, ImageData]:
        """The images by what they serve for: `train`, `val` where the task uses it, and every test by its name."""
        validation = {"val": self.trial.val} if self.task.validates else {}
        return {"train": self.trial.train, **validation, **self.trial.tests}

    @property
    def encoder_knows(self) -> bool:
        """Whether the domain encoder has learned from a training image, so that new ones look otherwise to it."""
        return bool(rows_among(self.trial.train, self.encoder_learned))

    @property
    def facts(self) -> TrainingFacts:
        """What a method may know of the training images, and whether epochs may be chosen."""
        return self._facts_of(self.trial.train)

    def _facts_of(self, train: ImageData) -> TrainingFacts:
        facts = self.task.facts(train)
        words = self.test_prompts
        sets = tuple(ClassSet(name, names, words.get(name, self.prompts)) for name, names in train.sets.items())
        return replace(facts, validation=len(self.splits.get("val", ())), sets=sets, seed=self.seed)

    @cached_property
    def splits_hash(self) -> str:
        """The hash that `splits.json` holds: which images, by their bytes, are in which split."""
        return assignment_hash(split_table(self.splits, digests=True))

    def freeze(self, path: Path) -> None:
        """Write down which images are in which split."""
        told: dict[str, Any] = {"seed": self.seed, "shots": self.shots, "source": self.trial.train.name}
        freeze_splits(self.splits, path, digests=True, whole=self.trial.whole, **told)

    def identity(self, files: Mapping[str, str] | None = None) -> str:
        """Return a fingerprint of everything that decides the result.

        Args:
            files: hashes of files that the run reads beside the data, and what else its parts have to say, by name.
        """
        common: dict[str, Any] = {
            "method": self.method.name,
            "config": identifying(self.config),
            "backbone": self.backbone.identity,
            "transform": self.backbone.transform.fingerprint,
            "classes": list(self.trial.train.class_names),
            "prompts": self.method.prompts_read(self.prompts),
            "test_prompts": {name: self.method.prompts_read(told) for name, told in self.test_prompts.items()},
            "splits": self.splits_hash,
            "shots": self.shots,
            "seed": self.seed,
            "precision": self.options.precision,
            "files": dict(files or {}),
        }
        if self.trial.train.sets:
            common["sets"] = {name: list(classes) for name, classes in self.trial.train.sets.items()}
        if (encoder := self.domain_encoder) is not None:
            common["domain_encoder"] = [encoder.identity, encoder.transform.fingerprint]
        if self.reference_prompts is not None:
            common["reference_prompts"] = self.reference_prompts.fingerprint
        if shown := {name: list(part.bands) for name, part in self.splits.items() if part.bands}:
            common["bands"] = shown
        if self.scorer is not None:
            common["scorer"] = [self.scorer.identity, self.scorer.transform.fingerprint]
        return fingerprint(self.task.decisive(common, self.splits))

    def before(self, one: Prerequisite) -> Experiment:
        """Return the experiment of a prerequisite; where epochs may be chosen, its validation images are measured.

        Raises:
            ConfigError: its method cannot learn from these data.
            BackboneError: it adapts a dual encoder, and there is none.
        """
        method = get_method(one.method)
        train, val = (_of_domain(part, one.domain) for part in (self.trial.train, self.trial.val))
        task = task_of(train, method)
        config: Any = make_config(method.Config, one.settings)
        described = method.inputs_of(config).reference_prompts and task.has_classes
        try:
            task.check(method, train.name)
        except ConfigError as error:
            if not one.advice:
                raise
            raise ConfigError(one.advice.format(data=train.name)) from error
        return replace(
            self,
            task=task,
            trial=Trial(train, val, {"validation": val} if len(val) and task.validates else {}),
            method=method,
            config=config,
            backbone=as_dual(self.backbone, one.method) if one.dual else self.backbone,
            seed=self.seed if one.seed is None else one.seed,
            test_prompts={},
            domain_encoder=None,
            encoder_learned=frozenset(),
            reference_prompts=open_reference_prompts(self.reference_prompts, train.class_names, self.prompts)
            if described
            else None,
            seconds={},
            hits={},
            kept=[],
            _feeds={},
        )

    def spend(self, purpose: str, started: float) -> None:
        """Add the time since `started` to a purpose."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + time.monotonic() - started

    def given(self, config: object = None) -> Given:
        """Return what the inputs of a method with these settings are made of."""
        progress = Timed(self.options.progress, self.seconds)
        references = self.task.references(self.reference_prompts)
        made_of = (self.backbone, self.domain_encoder, references, config, self.options.cache_dir, progress)
        return Given(*made_of, seed=self.seed, scorer=self.scorer)

    def feed(self, method: Method, split: str, names: frozenset[str] | None = None) -> Feed:
        """Return the evaluation views of a split, made once, as prediction reads them, or with other inputs."""
        key = (split, method.inputs.prediction if names is None else names)
        if key not in self._feeds:
            self._feeds[key] = evaluation_feed(key[1], self.splits[split], self.given(method.config), method.reading)
        return self._feeds[key]

    def training_feed(self, method: Method) -> Feed:
        """Return the training images as the method and its recipe read them."""
        recipe, domain, names = method.views, self.prompts.domain, method.inputs.all
        if recipe is None or (augmentation := recipe.augmentation(domain.flip, domain.id)) is None:
            return self.feed(method, "train", names)
        key = (f"train as {method.name} sees it", names)
        if key not in self._feeds:
            how = (recipe, augmentation, self.seed, method.reading)
            feed = training_feed(names, self.trial.train, self.given(method.config), *how)
            if names & VIEWS or not recipe.views:  # what encodes as it goes would be held in memory for nothing
                return feed
            self._feeds[key] = feed
        return self._feeds[key]

    def make(
        self, kind: type[Method], config: Any = None, parts: Sequence[Any] = (), train: ImageData | None = None
    ) -> Method:
        """Return a method that is ready to learn, with initial values drawn from the seed.

        Args:
            kind: its class.
            config: its settings; none: the defaults.
            parts: what else it begins with, see `RunPart`.
            train: what it is to learn from; none: the training images.
        """
        config = make_config(kind.Config, {}) if config is None else config
        method = kind(self.backbone, config, self.prompts, self.domain_encoder)
        seed_step(self.seed, "init", kind.name)
        self.task.begin(method, self.trial.train)
        for part in parts:
            part.begin(method)
        method.prepare(self.facts if train is None else self._facts_of(train))
        return method

    def refit(self, rows: np.ndarray, parts: Sequence[Any] = ()) -> Method:
        """Return the method of the run as it is when some of the training images are all that there are.

        Args:
            rows: of these images; for methods whose stages are solved at once.
            parts: what else it begins with, see `RunPart`.
        """
        train = self.trial.train.select(rows)
        method = self.make(self.method, self.config, parts, train)
        feed = RepeatedFeed(self.training_feed(method), torch.from_numpy(rows))
        val = self.feed(method, "val") if self.task.validates else None
        for stage in self.task.stages(method, self._facts_of(train)):
            assert isinstance(stage, SolverStage)
            stage.solve(feed, val)
        method.end_training()
        return method

    def learn(self, method: Method, context: FitContext) -> None:
        """Run the stages of a method, if it has any."""
        stages = self.task.stages(method, self.facts)
        if not stages:
            self.seconds[method.name] = 0.0
            return
        with context.team.first_first() if self.options.cache_dir else nullcontext():  # the others find the features
            train = self.training_feed(method)
            val = self.feed(method, "val") if self.task.validates else None
        started = time.monotonic()
        position = fit(method, stages, train, val, context=context, score=self.task.score(method))
        self.seconds[method.name] = max(position.seconds, time.monotonic() - started)

    def score(
        self, method: Method, split: str = "test", ranked: bool = True, kept: str | None = None
    ) -> dict[str, Any] | None:
        """Return the metrics of a method on a test.

        Args:
            method: after its training.
            split: name of the test.
            ranked: whether `hits` holds it, so that others are compared with it.
            kept: name of the ablation, "" for none, under which what it says is kept; none: it is not.

        Returns:
            None without images, or where the method cannot serve classes that it was not trained on.
        """
        data, prompts = self.splits[split], self.test_prompts.get(split, self.prompts)
        if len(data) == 0 or not self._fit_to(method, data, prompts):
            return None
        feed = self.feed(method, split)
        started = time.monotonic()
        answers = self.task.answer(method, feed, data, self.given(method.config))
        if ranked:
            self.hits.setdefault(split, {})[method.name] = self.task.hits(answers)
        metrics = self.task.measure(answers, data)
        if kept is not None and (found := self.task.kept(answers, data)):
            self.kept.append(predictions_table(found, data, split, kept))
        self.spend("evaluation", started)
        return metrics

    def score_all(
        self, method: Method, ranked: bool = True, kept: str | None = None
    ) -> dict[str, dict[str, Any] | None]:
        """Return the metrics of every test by name, see `score`, and leave the method with its own classes."""
        tests = {name: self.score(method, name, ranked, kept) for name in self.trial.tests}
        self._fit_to(method, self.trial.train, self.prompts)
        return tests

    def _fit_to(self, method: Any, data: ImageData, prompts: PromptSet) -> bool:
        """Have a method tell the classes of some images apart, in other words if need be; return whether it can."""
        if not self.task.has_classes or (data.class_names == method.class_names and prompts is method.prompts):
            return True
        if not self.task.serves(method, data):
            return False
        method.prompts = prompts
        method.bind(data.class_names)
        return True


def _of_domain(data: ImageData, domain: str | None) -> ImageData:
    """Return the images of one domain, whatever data sets they are of; all where none is named."""
    if domain is None:
        return data
    return replace(data.select([row for row, name in enumerate(data.domains) if name == domain]), sets={})
