"""Generative models that are shown training images with question and answer before they are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.errors import ConfigError
from acclimate.methods.capabilities import AnsweringClassifier
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.examples import Examples, draw
from acclimate.methods.parts.lessons import Lesson, Visual
from acclimate.training.stages import SolverStage, Stage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, GenerativeVLM
    from acclimate.backbones.backbone import Backbone
    from acclimate.backbones.generative.examples import Opening
    from acclimate.prompts import PromptSet
    from acclimate.training.batch import Batch
    from acclimate.training.feeds import Feed

PREFIX = "examples."  # of the names of their tensors


class InContext(AnsweringClassifier):
    """The part of `GenerativeClassifier` that draws, keeps and shows examples, where the settings want some.

    They are drawn before anything is learned, change nothing of what is learned, and stand before every question in
    prediction.

    Attributes:
        examples: those that are kept; none where the settings want none.
    """

    backbone: GenerativeVLM  # type: ignore[assignment]  # the only kind that it is made with
    config: Any

    def __init__(
        self, backbone: Backbone, config: object, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__(backbone, config, prompts, domain_encoder)
        self.examples = Examples() if self.config.examples else None

    def visual(self, batch: Batch) -> Visual:
        """Return what the language model sees of the images in prediction, those of the examples as well."""
        raise NotImplementedError

    def taught(self, batch: Batch) -> list[Lesson]:
        """Return what is learned about each image (B,)."""
        raise NotImplementedError

    def prepare(self, facts: TrainingFacts) -> None:
        """Refuse examples before the question for a class.

        Raises:
            ConfigError: so they would stand.
        """
        super().prepare(facts)
        if self.examples is not None and self.lessons is None:
            raise ConfigError(
                f"examples={self.config.examples} stand before questions and captions, and these images have classes; "
                "leave `examples` out"
            )

    def answer_stages(self, facts: TrainingFacts) -> Sequence[Stage]:
        """Return the stages that learn, behind one that draws examples where the settings want some."""
        drawing = [SolverStage("examples", partial(self._draw, seed=facts.seed))] if self.examples is not None else []
        return [*drawing, *super().answer_stages(facts)]

    @torch.no_grad()
    def _draw(self, train: Feed, val: Feed | None, seed: int) -> dict[str, float]:
        assert self.examples is not None
        batch = draw(train, self.config.examples, seed).to(self.backbone.device)
        read = {name: getattr(batch, name) for name in sorted(self.inputs.prediction) if name in batch}
        self.examples.keep(self.taught(batch), read)
        longest = max(self.lessons or self.examples.lessons, key=lambda pair: len(pair[0]) + len(pair[1]))
        size = self.visual(self.examples.batch).size(0)
        _ = self.backbone.conversation(*longest, examples=self.examples.lessons, **size)  # fits, before any is learned
        return {"examples": float(len(self.examples))}

    def opening(self) -> Opening | None:
        """Return the examples as they stand before what is asked, within `tuned`; none where the settings want none.

        Raises:
            ConfigError: none are drawn as yet.
        """
        if self.examples is None:
            return None
        if not len(self.examples):
            raise ConfigError("examples are drawn from training images; adapt to some first, or use examples=0")
        return self.examples.opening(self.backbone, self.visual(self.examples.batch))

    # -------------------------------------------------------------------------------------------------- learned tensors

    def load_learned_state(self, state: Mapping[str, Tensor]) -> None:
        """Put learned tensors, and examples where there are some, back."""
        kept = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if name.startswith(PREFIX)}
        if self.examples is None or not kept:
            super().load_learned_state(state)
            return
        before = dict(self.examples.state_dict())
        self.examples.put({})
        try:
            super().load_learned_state({name: each for name, each in state.items() if not name.startswith(PREFIX)})
        except ConfigError:
            self.examples.put(before)
            raise
        self.examples.put({name: tensor.to(self.backbone.device) for name, tensor in kept.items()})

    def learned_parameters(self) -> int:
        """Return the number of learned numbers; examples are drawn, not learned."""
        kept = (tensor.numel() for name, tensor in self.learned_state().items() if name.startswith(PREFIX))
        return super().learned_parameters() - sum(kept)

    def drop_kept(self) -> None:
        """Forget what was computed from learned tensors or classes."""
        super().drop_kept()
        if self.examples is not None:
            self.examples.forget()
