"""`Task`: what is learned from what, shared by a method and the baselines beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.data import ImageData
from acclimate.data.frozen import assignment_hash, split_table
from acclimate.files import fingerprint
from acclimate.methods import Method, TrainingFacts, get_method
from acclimate.options import identifying, make_config
from acclimate.prompts import PromptSet, ReferencePrompts
from acclimate.runs.evaluation import evaluate
from acclimate.training.feeds import Feed, join_feeds
from acclimate.training.fit import FitContext, fit
from acclimate.training.progress import Progress, Timed
from acclimate.training.recipe import Views
from acclimate.training.seeding import seed_step
from acclimate.training.serving import REFERENCES, evaluation_feed, reference_feed, training_feed

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder


@dataclass
class Task:
    """What is learned from what: data, splits, backbone and prompts, shared by a method and its baselines.

    Attributes:
        backbone: frozen dual encoder.
        prompts: words and templates of the classes.
        splits: `train` and `val` images, and those of every test, by name.
        shots: images per class in `train`, `all`, or `budget:N`.
        seed: of the shots, the initial values and the training.
        cache_dir: folder of the feature cache, or none.
        progress: told of every step.
        test_prompts: words and templates of the tests that have others than the training images.
        domain_encoder: frozen encoder of the domain, for the methods that read one.
        references: sentences that describe the classes, for the methods that learn from them.
        seconds: time spent, by what it was spent on.
    """

    backbone: DualEncoder
    prompts: PromptSet
    splits: dict[str, ImageData]
    shots: int | str
    seed: int
    cache_dir: Path | None
    progress: Progress
    test_prompts: Mapping[str, PromptSet] = field(default_factory=dict)
    domain_encoder: DomainEncoder | None = None
    references: ReferencePrompts | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _feeds: dict[tuple[str, frozenset[str]], Feed] = field(default_factory=dict)

    @cached_property
    def splits_hash(self) -> str:
        """The hash that `splits.json` holds: which images, by their bytes, are in which split."""
        return assignment_hash(split_table(self.splits, digests=True))

    def identity(self, method: str, config: object, precision: str, files: Mapping[str, str] | None = None) -> str:
        """Return a fingerprint of everything that decides the result of a run.

        Args:
            method: its name.
            config: its settings.
            precision: as in `adapt`.
            files: hashes of files that it reads beside the data, by name.
        """
        decisive = {
            "method": method,
            "config": identifying(config),
            "backbone": self.backbone.fingerprint,
            "transform": self.backbone.transform.fingerprint,
            "classes": list(self.splits["train"].class_names),
            "prompts": self.prompts.to_dict(),
            "test_prompts": {name: prompts.to_dict() for name, prompts in self.test_prompts.items()},
            "splits": self.splits_hash,
            "shots": self.shots,
            "seed": self.seed,
            "precision": precision,
        }
        if (encoder := self.domain_encoder) is not None:
            decisive["domain_encoder"] = [encoder.fingerprint, encoder.transform.fingerprint]
        if self.references is not None:
            decisive["reference_prompts"] = self.references.fingerprint
        if files:
            decisive["files"] = dict(files)
        return fingerprint(decisive)

    def spend(self, purpose: str, started: float) -> None:
        """Add the time since `started` to a purpose."""
        self.seconds[purpose] = self.seconds.get(purpose, 0.0) + time.monotonic() - started

    def facts(self) -> TrainingFacts:
        """Return what a method may know of the training images."""
        train = self.splits["train"]
        return TrainingFacts(len(train), max(train.counts().values()), len(train.domain_names))

    def feed(self, method: Method, split: str) -> Feed:
        """Return the evaluation views of a split as the method needs them, made once."""
        return self._evaluation_feed(split, method.needs)

    def _evaluation_feed(self, split: str, needs: frozenset[str]) -> Feed:
        key, progress = (split, needs), Timed(self.progress, self.seconds)
        if key not in self._feeds:
            self._feeds[key] = evaluation_feed(
                needs, self.backbone, self.splits[split], self.cache_dir, progress, self.domain_encoder
            )
        return self._feeds[key]

    def training_feed(self, method: Method) -> Feed:
        """Return the training images as the method and its recipe need them."""
        images = self._training_images(method)
        if REFERENCES not in method.loss_needs:
            return images
        assert self.references is not None
        progress = Timed(self.progress, self.seconds)
        prompts = reference_feed(self.backbone, self.references, self.splits["train"], self.cache_dir, progress)
        return join_feeds([images, prompts])

    def _training_images(self, method: Method) -> Feed:
        recipe, domain, needs = method.config, self.prompts.domain, (method.needs | method.loss_needs) - {REFERENCES}
        if not isinstance(recipe, Views):
            return self._evaluation_feed("train", needs)
        augmentation = recipe.augmentation(domain.flip, domain.id)
        if augmentation is None:
            return self._evaluation_feed("train", needs)
        return training_feed(
            needs,
            self.backbone,
            self.splits["train"],
            recipe,
            augmentation,
            self.seed,
            self.cache_dir,
            Timed(self.progress, self.seconds),
            self.domain_encoder,
        )

    def learn(self, method: Method, context: FitContext) -> None:
        """Run the stages of a method."""
        train, val = self.training_feed(method), self.feed(method, "val")
        started = time.monotonic()
        position = fit(method, method.stages(self.facts()), train, val, context=context)
        self.seconds[method.name] = max(position.seconds, time.monotonic() - started)

    def make(self, name: str, settings: Mapping[str, Any]) -> Method:
        """Return a method bound to the classes, with initial values drawn from the seed."""
        method_class = get_method(name)
        config: Any = make_config(method_class.Config, settings)
        method = method_class(self.backbone, config, self.prompts, self.domain_encoder)
        seed_step(self.seed, "init", name)
        method.bind(self.splits["train"].class_names)
        return method

    def score(self, method: Method, split: str = "test") -> dict[str, Any] | None:
        """Return the metrics of a method among the classes of a test.

        Returns:
            None without images, or where the method cannot serve classes that it was not trained on.
        """
        data, prompts = self.splits[split], self.test_prompts.get(split, self.prompts)
        if len(data) == 0:
            return None
        if data.class_names != method.class_names or prompts is not method.prompts:
            if not method.serves_new_classes:
                return None
            method.prompts = prompts
            method.bind(data.class_names)
        feed = self.feed(method, split)
        started = time.monotonic()
        metrics = evaluate(method, feed, data)
        self.spend("evaluation", started)
        return metrics

    def score_all(self, method: Method) -> dict[str, dict[str, Any] | None]:
        """Return the metrics of every test by name, and leave the method bound to its own classes."""
        tests = {name: self.score(method, name) for name in self.splits if name not in ("train", "val")}
        if method.class_names != self.splits["train"].class_names or method.prompts is not self.prompts:
            method.prompts = self.prompts
            method.bind(self.splits["train"].class_names)
        return tests
