"""CLIP-Adapter: a small bottleneck rewrites part of the image feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.errors import ConfigError
from acclimate.methods.coop import published_epochs
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.parts.text import TemplateClassifier
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.recipe import Recipe
from acclimate.training.stages import GradientStage


@dataclass(frozen=True, kw_only=True)
class CLIPAdapterConfig(Recipe):
    """Settings of CLIP-Adapter; the recipe is that of CoOp, as in its released code."""

    ratio: float = option(0.2, "share alpha of the adapter's output in the image feature", low=0.0, high=1.0)
    reduction: int = option(4, "how many times narrower the bottleneck is than the joint space", low=1)


@register
class CLIPAdapter(TemplateClassifier):
    """CLIP-Adapter on the image side.

    x' = alpha A(x) + (1 - alpha) x with A(x) = relu(W2 relu(W1 x)), W1 (E/4, E), W2 (E, E/4), no biases; then
    logits = s cos(x', w_c) with the frozen directions w_c of the domain template. Minimises the cross-entropy over W1
    and W2. A is positively homogeneous, so the scale of x does not matter.
    Source: Gao et al. 2021 (arXiv 2110.04544), section 3.2; the released code has this image adapter alone.
    """

    name = "clip-adapter"
    title = "CLIP-Adapter"
    paper = "arXiv 2110.04544"
    learns = "a bottleneck: joint width squared / 2 numbers"
    Config = CLIPAdapterConfig
    config: CLIPAdapterConfig

    def make(self) -> None:
        """Make the adapter, the same for all classes."""
        width, device = self.backbone.embed_dim, self.backbone.device
        hidden = width // self.config.reduction
        if not hidden:
            raise ConfigError(f"reduction={self.config.reduction} leaves nothing of {width} numbers; choose less")
        self.down = nn.Linear(width, hidden, bias=False).to(device)
        self.up = nn.Linear(hidden, width, bias=False).to(device)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return norm(alpha A(x) + (1 - alpha) x) (B, E)."""
        alpha, x = self.config.ratio, batch.image_features.float()
        adapted = F.relu(self.up(F.relu(self.down(x))))
        return F.normalize(alpha * adapted + (1.0 - alpha) * x, dim=-1)

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns the bottleneck."""
        epochs = self.config.epochs or published_epochs(facts.shots)
        return [GradientStage(self.name, self.config, epochs, self.loss, list(self.parameters()), divisible=True)]
