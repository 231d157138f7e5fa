"""Vanilla instruction tuning of a generative VLM: a low-rank adapter of its language model learns the answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from acclimate.methods.contract import TrainingFacts
from acclimate.methods.parts.generative import GenerativeClassifier, Visual
from acclimate.methods.registry import register
from acclimate.methods.vitask.config import TuningConfig
from acclimate.methods.vitask.losses import cross_entropy
from acclimate.training.batch import Batch
from acclimate.training.stages import GradientStage


class Responses(NamedTuple):
    """The responses of a batch: token ids (T,), image by image, and how many each image has (B,)."""

    targets: Tensor
    lengths: Tensor


@register
class Instruct(GenerativeClassifier):
    """Vanilla instruction tuning: minimises -log p(label | image, instruction) over a low-rank adapter.

    The adapter changes every linear layer of the language model; vision encoder and connector stay frozen, so what they
    give is computed once. Two stages with a schedule of their own each, as VITask has, so that both see the same number
    of steps. The loss is the mean over the tokens of a response, then over images.
    Source: Bai et al. 2024 (arXiv 2410.06456), section 3 and equation 1; adapter and recipe after the second-stage
    fine-tuning of InternVL 2, since the paper gives none.
    """

    name = "instruct"
    title = "Vanilla instruction tuning"
    paper = "arXiv 2410.06456"
    learns = "rank-16 changes of the language model's linear layers"
    Config = TuningConfig
    config: TuningConfig

    def make(self) -> None:
        """Make the adapter, which changes nothing yet."""
        config = self.config
        self.adapter = self.backbone.adapter(config.rank, config.alpha, config.dropout)

    def tuned(self) -> AbstractContextManager[Any]:
        """Return the context in which the backbone has the adapter."""
        return self.adapter.on()

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the two stages."""
        first, second = self.config.passes(facts.images)
        parameters = list(self.adapter.parameters())
        stages = [
            GradientStage(f"{self.name}-1", self.config, first, self.loss, parameters),
            GradientStage(f"{self.name}-2", self.config, second, self.loss, parameters),
        ]
        return [stage for stage in stages if stage.epochs]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the responses."""
        told = self.responses(batch)
        with self.tuned():
            return {"vanilla": cross_entropy(self.respond(batch, Visual(batch.image_tokens)), *told)}

    def responses(self, batch: Batch) -> Responses:
        """Return the responses to learn."""
        told = zip(batch.labels.tolist(), self.asks_of(batch), strict=True)
        rendered = [self.conversation(label, asks=asks) for label, asks in told]
        parts = [conversation.ids[conversation.response] for conversation in rendered]
        device = batch.labels.device
        return Responses(torch.cat(parts).to(device), torch.tensor([len(part) for part in parts], device=device))

    def respond(self, batch: Batch, *seen: Visual) -> Tensor:
        """Return logits (n T, V) of the responses of a batch, once for each of n views of its images.

        All views have the same number of exemplars; they run through the language model together.
        """
        told = [*zip(batch.labels.tolist(), self.asks_of(batch), strict=True)]
        rendered = [
            self.conversation(label, asks=asks, exemplars=view.count, image_tokens=view.image_tokens)
            for view in seen
            for label, asks in told
        ]
        images = torch.cat([view.images for view in seen])
        exemplars = None if seen[0].exemplars is None else torch.cat([view.exemplars for view in seen])  # type: ignore[misc]
        return self.backbone.response_logits(rendered, images, exemplars)
