"""KgCoOp: CoOp with a pull towards the directions of hand-written prompts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.coop import ContextPrompts, CoOpConfig
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch


@dataclass(frozen=True, kw_only=True)
class KgCoOpConfig(CoOpConfig):
    """Settings of KgCoOp; the defaults are those of its released ViT-B/16 configuration."""

    batch_size: int = option(128, "images in a step", low=1)
    context_init: str | None = option(
        "a photo of a", "words that the context starts from; 'template': the domain's; none: N(0, 0.02)"
    )
    guidance: float = option(8.0, "weight lambda of the pull towards the domain template's directions", low=0.0)


@register
class KgCoOp(ContextPrompts):
    """Knowledge-guided Context Optimization.

    Minimises cross-entropy + lambda (1 - mean_c cos(w_c, w_c^clip)), where w_c^clip are the frozen directions of the
    domain template. On unit vectors this equals half the squared Euclidean distance of the paper's equation.
    Source: Yao et al. 2023 (arXiv 2303.13283), section 3.2, equations 4 and 5.
    """

    name = "kgcoop"
    title = "Knowledge-guided context optimisation"
    paper = "arXiv 2303.13283"
    learns = "4 context tokens: 4 x text width numbers"
    Config = KgCoOpConfig
    config: KgCoOpConfig
    anchors: Tensor

    def set_classes(self) -> None:
        """Read the words of the classes, and encode their template once."""
        super().set_classes()
        self.register_buffer("anchors", self.template_directions(), persistent=False)  # (C, E)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and the weighted guidance term."""
        directions = self.class_weights()
        distance = 1.0 - (directions * self.anchors).sum(dim=-1).mean()
        return {
            "cross_entropy": F.cross_entropy(self.similarities(batch, directions), batch.labels),
            "guidance": self.config.guidance * distance,
        }

    def default_epochs(self, shots: int) -> int:
        """Return 100 epochs for any number of shots."""
        return 100
