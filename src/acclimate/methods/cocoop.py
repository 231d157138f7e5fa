"""CoCoOp: CoOp's context, shifted by a small network that looks at the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.capabilities import Classifier, WordLearner
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.contexts import initial_context
from acclimate.methods.parts.scores import cosines_per_image
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage

EPOCHS = 10  # for any number of shots


@dataclass(frozen=True, kw_only=True)
class CoCoOpConfig(Recipe):
    """Settings of CoCoOp; the defaults are those of the paper and its released ViT-B/16 configuration."""

    batch_size: int = option(1, "images in a step; every one of them brings prompts for all classes", low=1)
    context_init: str | None = option(
        "a photo of a", "words that the context starts from; 'template': the domain's; none: N(0, 0.02)"
    )
    context_tokens: int = option(4, "number M of context tokens; ignored where context_init gives words", low=1)
    reduction: int = option(16, "how many times narrower than the joint space the meta-net's hidden layer is", low=1)
    zero_init: bool = option(False, "start the meta-net's last layer at zero, so that training begins at the words")
    checkpoint: bool = option(False, "recompute the text tower in the backward pass: less memory, more time")


@register
class CoCoOp(Classifier, WordLearner):
    """Conditional Context Optimization.

    A meta-net h turns the image feature into one token pi(x) = h(norm(f(x))), which is added to every context token:
    v_m(x) = v_m + pi(x). Minimises the cross-entropy of p(c|x) = softmax_c(s cos(x, g([v_1(x) ... v_M(x), c]))) over v
    and the weights of h = Linear(E, E/16), ReLU, Linear(E/16, D).
    Source: Zhou et al. 2022 (arXiv 2203.05557), section 3.2; recipe of section 4: context from "a photo of a", batches
    of one image, 10 epochs.
    """

    name = "cocoop"
    title = "Conditional context optimisation"
    paper = "arXiv 2203.05557"
    learns = "4 context tokens and a meta-net from image feature to text width"
    prompts_per_image = True
    Config = CoCoOpConfig
    config: CoCoOpConfig

    def make(self) -> None:
        """Make context and meta-net."""
        config = self.config
        start = initial_context(self.backbone, self.prompts, config.context_init, config.context_tokens)
        self.context = nn.Parameter(start)  # (M, D)
        self.meta_net = self._make_meta_net()

    def set_classes(self) -> None:
        """Read the words of the classes."""
        self.names = self.backbone.class_tokens(self.prompts.words(self.class_names))

    def _make_meta_net(self) -> nn.Sequential:
        inputs, outputs, device = self.backbone.embed_dim, self.backbone.text_width, self.backbone.device
        hidden = max(1, inputs // self.config.reduction)
        first, last = nn.Linear(inputs, hidden, device=device), nn.Linear(hidden, outputs, device=device)
        if self.config.zero_init:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        return nn.Sequential(first, nn.ReLU(), last)

    def logits(self, batch: Batch) -> Tensor:
        """Return s cos(x, w_c(x)) + b (B, C) with directions w_c(x) of each image's own."""
        x = F.normalize(batch.image_features.float(), dim=-1)
        context = self.context + self.meta_net(x)[:, None]  # (B, M, D)

        def directions(few: slice) -> Tensor:
            features = self.backbone.encode_context(
                context[few], self.names, per="image", checkpoint=self.config.checkpoint
            )
            return F.normalize(features.float(), dim=-1)

        cosines = cosines_per_image(x, len(self.names), directions)
        return self.backbone.scaled(cosines)

    def word_vectors(self, domains: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the context v (M, D), which each image shifts."""
        return {"": self.context}

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns context and meta-net."""
        epochs = self.config.epochs or EPOCHS
        return [GradientStage(self.name, self.config, epochs, self.loss, list(self.parameters()), divisible=True)]
