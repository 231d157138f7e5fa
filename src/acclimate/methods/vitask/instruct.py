"""Vanilla instruction tuning of a generative VLM: a low-rank adapter of its language model learns the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.backbones.generative.images import unpack
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.lessons import Visual
from acclimate.methods.parts.teaching import Teachable, cross_entropy
from acclimate.methods.registry import register
from acclimate.methods.vitask.config import TuningConfig
from acclimate.training.batch import Batch
from acclimate.training.inputs import VISION_TOKENS, Inputs
from acclimate.training.stages import GradientStage

if TYPE_CHECKING:
    from acclimate.backbones.generative.vlm import Images


@register
class Instruct(Teachable):
    """Vanilla instruction tuning: minimises -log p(label | image, instruction) over a low-rank adapter.

    The adapter changes every linear layer of the language model; vision encoder and connector stay frozen, so what they
    give is computed once. With vlm_connector=trained a copy of the connector is learned too. Two stages with a schedule
    of their own each, as VITask has, so that both see the same number of steps. The loss is the mean over the tokens of
    a response, then over images.
    Source: Bai et al. 2024 (arXiv 2410.06456), section 3 and equation 1; adapter and recipe after the second-stage
    fine-tuning of InternVL 2, since the paper gives none.
    """

    name = "instruct"
    title = "Vanilla instruction tuning"
    paper = "arXiv 2410.06456"
    learns = "rank-16 changes of the language model's linear layers"
    Config = TuningConfig
    config: TuningConfig

    @classmethod
    def inputs_of(cls, config: TuningConfig) -> Inputs:  # type: ignore[override]
        """Return what it reads: an image as the language model sees it, or as a learned connector does."""
        return Inputs({VISION_TOKENS}) if config.vlm_connector == "trained" else super().inputs_of(config)

    def make(self) -> None:
        """Make the adapter, and the copy of the connector; they change nothing yet."""
        config = self.config
        self.adapter = self.backbone.adapter(config.rank, config.alpha, config.dropout)
        self.vlm_connector = self.backbone.learned_connector() if config.vlm_connector == "trained" else None

    def image_tokens(self, batch: Batch) -> Images:
        """Return what the language model sees of the images."""
        return super().image_tokens(batch) if self.vlm_connector is None else self.vlm_connector(batch.vision_tokens)

    def negative_tokens(self, batch: Batch) -> Images:
        """Return the same of their negatives."""
        if self.config.image_shape == "own":
            return unpack(batch.negative_tokens, batch.negative_shapes)
        return batch.negative_tokens if self.vlm_connector is None else self.vlm_connector(batch.negative_tokens)

    def probed(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return features inside the model, behind the learned connector where there is one."""
        found = super().probed(batch)
        if self.vlm_connector is None:
            return found
        with torch.no_grad():
            return {"connector": self.vlm_connector(batch.vision_tokens).mean(1), **found}

    def learned(self) -> tuple[list[nn.Parameter], list[float]]:
        """Return what both stages learn, and its multiples of the learning rate."""
        adapter = list(self.adapter.parameters())
        connector = [] if self.vlm_connector is None else list(self.vlm_connector.parameters())
        return adapter + connector, [1.0] * len(adapter) + [self.config.vlm_connector_rate] * len(connector)

    def prepare(self, facts: TrainingFacts) -> None:
        """Put the classes of several data sets into words, and refuse what does not fit into the context in training.

        Raises:
            BackboneError: so it is: the list of the classes may stand in training alone, and exemplars are more tokens.
        """
        super().prepare(facts)
        if self.lessons is None:
            for asks in self.asks or (self.own,):
                _ = self.backbone.conversation(asks.training, self._longest(asks), **self.visual_size)

    @property
    def visual_size(self) -> dict[str, Any]:
        """How many `exemplars` and `image_tokens` a conversation has at most, as `conversation` takes them."""
        return {}

    def tuned(self) -> AbstractContextManager[Any]:
        """Return the context in which the backbone has the adapter."""
        return self.adapter.on()

    def passes(self, facts: TrainingFacts) -> tuple[int, int]:
        """Return the epochs of the two stages."""
        return self.config.passes(facts.images, 0 if self.lessons is not None else len(self.class_names))

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the two stages."""
        parameters, rates = self.learned()
        how: dict[str, Any] = {"rates": rates, "divisible": True}
        stages = [
            GradientStage(f"{self.name}-{number}", self.config, epochs, self.loss, parameters, **how)
            for number, epochs in enumerate(self.passes(facts), 1)
        ]
        return [stage for stage in stages if stage.epochs]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the responses."""
        told = self.responses(batch)
        with self.tuned():
            return {"vanilla": cross_entropy(self.respond(batch, Visual(self.image_tokens(batch))), *told)}
