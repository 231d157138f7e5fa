"""AAPE: Aggregate-and-Adapted Prompt Embedding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.aape.aggregators import AGGREGATORS, Aggregator, pick_one
from acclimate.methods.aape.config import AAPEConfig
from acclimate.methods.aape.distilling import WATCHED, aggregate, distil, reward
from acclimate.methods.aape.inspection import inspect
from acclimate.methods.aape.networks import Projection, PromptGenerator
from acclimate.methods.capabilities import PromptAttribution, PromptAttributor, Retriever
from acclimate.methods.coop import published_epochs
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.class_rows import BoundRows
from acclimate.methods.parts.scores import cosines, similarities
from acclimate.methods.parts.text import TemplateClassifier
from acclimate.methods.registry import register
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed
from acclimate.training.inputs import Inputs
from acclimate.training.stages import GradientStage, SolverStage, Stage

RETRIEVAL_EPOCHS = 30


@register
class AAPE(TemplateClassifier, BoundRows, Retriever, PromptAttributor):
    """Aggregate-and-Adapted Prompt Embedding.

    A generator h makes a prompt embedding h(x) of an image x, a projection g class weights w_c(x) = g([w_c, h(x)]) of
    that and the frozen template directions w_c; logits = s cos(x, w_c(x)) + b. Training minimises

        lambda |h(x) - p^a|² + cross-entropy,    and  -2.5 cos(x, p^a)  over the aggregator alone,

    where the aggregator makes p^a of the reference prompts of the image: sentences that describe its class. It is gone
    when training ends, as are the sentences, and prediction runs no text tower. For retrieval the reference prompts are
    the captions of the image, h(x) is its query, and the contrastive loss of queries and captions takes the place of
    the cross-entropy. With `class_residual` w_c is the template direction plus a learned vector of its class, which is
    zero at first and for classes that are bound later.
    Source: Huang et al. 2024 (AAPE, arXiv 2410.23698), section 3, equations 1 to 4; lambda = 5 of section 3.3, CoOp's
    epochs of section 4.1. No code is released; what the paper leaves open is a setting here.
    """

    name = "aape"
    title = "Aggregated and adapted prompt embedding"
    paper = "arXiv 2410.23698"
    learns = "a generator and a projection: 82,464 numbers by a joint width of 512"
    inputs = Inputs(training={"reference_prompts"})
    training_only = ("aggregator",)
    sized_by_data = frozenset({"aggregator.own"})
    Config = AAPEConfig
    config: AAPEConfig
    aggregator: Aggregator | None

    @classmethod
    def inputs_of(cls, config: object) -> Inputs:
        """Return that it learns from reference prompts, unless distillation is off."""
        assert isinstance(config, AAPEConfig)
        return cls.inputs if config.distillation_weight > 0 else Inputs()

    def make(self) -> None:
        """Make generator and projection; where no class is bound, there is nothing to project onto."""
        width, config, device = self.backbone.embed_dim, self.config, self.backbone.device
        mode = config.projection if self.class_names else "none"
        if not self.class_names:
            self.inputs = type(self).inputs  # captions are learned from, whether they are distilled or not
        self.generator = PromptGenerator(width, config.generator == "residual").to(device)
        self.projection = None if mode == "none" else Projection(width, mode).to(device)
        self.residuals: nn.Parameter | None = None  # (C, E), beside the templates of the classes of the training data
        if config.class_residual and self.class_names:
            self.residuals = nn.Parameter(torch.zeros(len(self.class_names), width, device=device))
        self.aggregator = None

    def set_classes(self) -> None:
        """Encode the template of the classes, and find their vectors."""
        super().set_classes()
        self.find_rows()

    def class_directions(self) -> Tensor:
        """Return the directions of the template (C, E), with the vectors of classes that it was trained on added."""
        return self.templates if self.residuals is None else self.templates + self.bound_rows(self.residuals)

    def prepare(self, facts: TrainingFacts) -> None:
        """Make the aggregator."""
        if self.config.distillation_weight:
            width, device = self.backbone.embed_dim, self.backbone.device
            self.aggregator = AGGREGATORS[self.config.aggregator](width, self.config, facts.images).to(device)

    def stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stage that learns all, or one for the aggregator and one for the rest; then a last look."""
        return self._stages(facts, self.config.epochs or published_epochs(facts.shots))

    def retrieval_stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the same, with the contrastive loss of captions in place of the cross-entropy of classes."""
        return self._stages(facts, self.config.epochs or RETRIEVAL_EPOCHS)

    def _stages(self, facts: TrainingFacts, epochs: int) -> Sequence[Stage]:
        config = self.config
        alone = bool(self.class_names) and config.aggregator != "random"  # captions are compared with each other
        served = [*self.generator.parameters(), *([] if self.projection is None else self.projection.parameters())]
        pace = [1.0] * len(served)
        if self.residuals is not None:
            served, pace = [*served, self.residuals], [*pace, config.residual_rate]
        if not config.distillation_weight:
            return [GradientStage(self.name, config, epochs, self.loss, served, rates=pace, divisible=alone)]
        assert self.aggregator is not None  # `prepare` comes first
        learned = list(self.aggregator.parameters())
        rates = [config.aggregator_lr / config.lr if config.lr else 0.0] * len(learned)
        how: dict[str, Any] = {"watched": WATCHED, "divisible": alone}
        stages: list[Stage] = []
        if learned and config.two_stage:
            stages = [GradientStage("aggregator", config, epochs, self.reward, learned, rates=rates, **how)]
            learned, rates = [], []
        rates += pace
        stages += [GradientStage(self.name, config, epochs, self.loss, learned + served, rates=rates, **how)]
        return [*stages, SolverStage("prompts", lambda train, val: inspect(self, train)[0])]

    def attribution(self, train: Feed) -> PromptAttribution | None:
        """Return what each training image has learned from its prompts; none without an aggregator."""
        return None if self.aggregator is None else inspect(self, train, warn=False)[1]

    def aggregate(self, batch: Batch) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
        """Return p^a of the images of a batch, the attention and figures of both, see `distilling.aggregate`."""
        assert self.aggregator is not None
        return aggregate(self.aggregator, self.config, batch, self.image_directions(batch))

    def reward(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the aggregator minimises, and the figures of `aggregate`."""
        aggregated, _, figures = self.aggregate(batch)
        return {"reward": reward(self.config, self.image_directions(batch), aggregated), **figures}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the terms; gradients of the reward reach the aggregator alone, those of all others never do."""
        images = self.image_directions(batch)
        generated = self.generator(images)
        if self.class_names:
            terms = {"cross_entropy": F.cross_entropy(self._scores(images, generated), batch.labels)}
        else:
            terms = {"contrastive": self._contrast(batch, F.normalize(generated, dim=-1))}
        if self.aggregator is None:
            return terms
        return terms | distil(self.aggregator, self.config, batch, images, generated)

    def _contrast(self, batch: Batch, queries: Tensor) -> Tensor:
        """Return the symmetric contrastive loss of queries (B, E) and a caption of each image, drawn anew each time."""
        captions = F.normalize(pick_one(batch.reference_prompts.float(), batch.reference_mask), dim=-1)
        logits = similarities(self.backbone, queries, captions)
        own = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    def queries(self, batch: Batch) -> Tensor:
        """Return norm(h(x)) (B, E)."""
        return F.normalize(self.generator(self.image_directions(batch)), dim=-1)

    def logits(self, batch: Batch) -> Tensor:
        """Return s cos(x, w_c(x)) + b (B, C); without a projection s cos(h(x), w_c) + b."""
        images = self.image_directions(batch)
        return self._scores(images, self.generator(images))

    def _scores(self, images: Tensor, generated: Tensor) -> Tensor:
        templates = self.class_weights()
        if self.projection is None:
            return self.backbone.scaled(cosines(F.normalize(generated.float(), dim=-1), templates))
        return self.backbone.scaled(self.projection.cosines(images, templates, generated))
