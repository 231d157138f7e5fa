"""Full fine-tuning of a vision encoder with a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.methods.capabilities import Classifier
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.scores import BATCH
from acclimate.methods.registry import register
from acclimate.training.batch import Batch
from acclimate.training.feeds import Feed, chunks
from acclimate.training.fine_tuning import TIE, FineTuneRecipe, VisionClassifier, cross_entropy, one_hot
from acclimate.training.inputs import Inputs
from acclimate.training.stages import GradientStage


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig(FineTuneRecipe):
    """Settings of full fine-tuning."""


@register
class FineTune(Classifier):
    """All weights of a vision encoder and a new linear head, p(c|x) = softmax_c(A h(x) + b): the usual way.

    The encoder is the domain encoder that is named, else the backbone's own image tower, of which the pooled features
    before the projection are read. What is learned is a copy: the encoder stays as it is, for whoever shares it. No
    text is read. The same network, trained on its own, is the domain encoder that `pretrain classifier` makes.

    Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), section 3.2, for a new linear head and all weights trained; Bao
    et al. 2021 (arXiv 2106.08254) for rates that fall with the depth.
    """

    name = "fine-tune"
    title = "Full fine-tuning of a vision encoder"
    paper = "arXiv 2010.11929"
    learns = "all weights of the encoder, and per class: its width + 1 numbers"
    serves_new_classes = False
    inputs = Inputs({"domain_pixels"})
    usual_domain_encoder = "self"
    Config = FineTuneConfig
    config: FineTuneConfig

    def make(self) -> None:
        """Copy the encoder, and draw the weights of the head."""
        assert self.domain_encoder is not None
        self.network = VisionClassifier(self.domain_encoder, len(self.class_names))

    def logits(self, batch: Batch) -> Tensor:
        """Return A h(x) + b (B, C)."""
        return self.network(batch.domain_pixels)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy with smoothed labels."""
        logits = self.logits(batch)
        targets = one_hot(batch.labels, logits.shape[1])
        terms = cross_entropy(logits, targets, torch.ones_like(logits, dtype=torch.bool), self.config.label_smoothing)
        return {"cross_entropy": terms.mean()}

    @torch.no_grad()
    def validation_score(self, feed: Feed) -> float:
        """Return the accuracy; of equal ones the larger probability of the true classes counts.

        A few validation images are soon all right, long before the training is done, and tell epochs apart no more.
        """
        sure = 0.0
        for batch in chunks(feed, BATCH):
            scores = self.logits(batch.to(self.backbone.device)).softmax(-1).cpu()
            sure += float(scores.gather(1, batch.labels[:, None]).sum())
        return super().validation_score(feed) + TIE * sure / len(feed)

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns all weights."""
        return [self.config.stage(self.name, self.network, facts.images, self.loss, facts.validation)]
