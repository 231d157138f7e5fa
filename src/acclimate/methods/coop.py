"""CoOp: the words around the class name become learned vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.capabilities import WordLearner
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.contexts import initial_context
from acclimate.methods.parts.text import TextClassifier
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder, DualEncoder
    from acclimate.prompts import PromptSet


@dataclass(frozen=True, kw_only=True)
class CoOpConfig(Recipe):
    """Settings of CoOp; the defaults are those of the paper's unified context (M = 16, class name at the end)."""

    context_tokens: int = option(16, "number M of context tokens; ignored where context_init gives words", low=1)
    context_init: str | None = option(
        None, "words that the context starts from, such as 'a photo of a'; 'template': the domain's; none: N(0, 0.02)"
    )
    class_position: Literal["end", "middle", "front"] = option("end", "where the class name stands in the context")
    class_specific: bool = option(False, "one context per class (CSC) instead of one for all")


class ContextPrompts(TextClassifier, WordLearner):
    """Base of methods with a learned context that is the same for every image.

    The sequence of class c is [v_1 ... v_M, c] with c at the end, in the middle or in front of the context.
    """

    config: CoOpConfig
    advice_on_new_classes = "use class_specific=false to serve new classes"

    def __init__(
        self, backbone: DualEncoder, config: CoOpConfig, prompts: PromptSet, domain_encoder: DomainEncoder | None = None
    ) -> None:
        super().__init__(backbone, config, prompts, domain_encoder)
        self.serves_new_classes = not config.class_specific

    def make(self) -> None:
        """Make the context."""
        self.context = nn.Parameter(self._initial_context())  # (M, D), or (C, M, D) class-specific

    def set_classes(self) -> None:
        """Read the words of the classes."""
        self.names = self.backbone.class_tokens(self.prompts.words(self.class_names))

    def _initial_context(self) -> Tensor:
        def start() -> Tensor:
            return initial_context(self.backbone, self.prompts, self.config.context_init, self.config.context_tokens)

        return torch.stack([start() for _ in self.class_names]) if self.config.class_specific else start()

    def class_directions(self) -> Tensor:
        """Return w_c = norm(g([v, c])) (C, E)."""
        features = self.backbone.encode_context(
            self.context,
            self.names,
            position=self.config.class_position,
            per="class" if self.config.class_specific else "shared",
        )
        return F.normalize(features.float(), dim=-1)

    def word_vectors(self, domains: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the context v (M, D), or that of each class."""
        if self.config.class_specific:
            return dict(zip(self.trained_classes, self.context, strict=True))
        return {"": self.context}

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns the context."""
        epochs = self.config.epochs or self.default_epochs(facts.shots)
        return [GradientStage(self.name, self.config, epochs, self.loss, list(self.parameters()), divisible=True)]

    def default_epochs(self, shots: int) -> int:
        """Return the published number of epochs for a number of shots."""
        raise NotImplementedError


@register
class CoOp(ContextPrompts):
    """Context Optimization.

    Minimises the cross-entropy of p(c|x) = softmax_c(s cos(x, g([v_1 ... v_M, c]))) over the context v alone.
    Source: Zhou et al. 2022 (arXiv 2109.01134), section 3.2, equations 2 and 3; recipe of section 4.1: SGD, learning
    rate 0.002 with cosine decay after one epoch at 1e-5, batches of 32, 200 epochs for 8 shots and more, 100 for 2 and
    4 shots, 50 for 1 shot.
    """

    name = "coop"
    title = "Context optimisation"
    paper = "arXiv 2109.01134"
    learns = "16 context tokens: 16 x text width numbers"
    Config = CoOpConfig

    def default_epochs(self, shots: int) -> int:
        """Return 50, 100 or 200 epochs for 1, up to 4, or more shots."""
        return published_epochs(shots)


def published_epochs(shots: int) -> int:
    """Return CoOp's number of epochs: 50, 100 or 200 for 1, up to 4, or more shots."""
    if shots <= 1:
        return 50
    return 100 if shots <= 4 else 200
