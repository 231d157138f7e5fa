"""GDPL: Generalized Domain Prompt Learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from acclimate.backbones import LowRankDeltas
from acclimate.methods.dplq import DPLQ
from acclimate.methods.facts import TrainingFacts
from acclimate.methods.gdpl.config import GDPLConfig
from acclimate.methods.gdpl.low_rank import CrossModalLowRank
from acclimate.methods.registry import register
from acclimate.training.stages import GradientStage


@register
class GDPL(DPLQ):
    """Generalized Domain Prompt Learning: DPLQ's prompts, and low-rank changes of both towers that know of each other.

    The prompts T_l(x) and V_l(x) are those of `DPLQ`, conditioned on a domain encoder through quaternion layers. In the
    towers f_v and g the attention weights of the first L layers become W + gamma B diag(S'_l) A, with

        S' = S + S R,   S (L, r, 2) for both towers, R (2, 2),

    see `CrossModalLowRank`. Minimises the cross-entropy as DPLQ does, over A, B, S and R as well.
    `variant="released"` has DPLQ's released prompts and S' = 1, since its code replaces S in every forward pass and
    neither S nor R ever learns.
    Source: Cao et al. 2024 (arXiv 2405.08668), after its released code: n = 2, J = 9, L = 9, r = 4, alpha = 1, SGD,
    learning rate 0.0035, 15 epochs, batches of 4.
    """

    name = "gdpl"
    title = "Domain-conditioned deep prompts and cross-modal low-rank adaptation"
    paper = "arXiv 2405.08668"
    learns = "what DPLQ learns, and rank-4 changes of the attention weights of both towers"
    Config: ClassVar[type] = GDPLConfig
    config: GDPLConfig

    def make(self) -> None:
        """Make what DPLQ learns, and the low-rank changes."""
        super().make()
        config, backbone = self.config, self.backbone
        if config.low_rank != "none":
            layers, widths = self.fit_both("layers", config.layers), (backbone.text_width, backbone.vision_width)
            self.low_rank = CrossModalLowRank(config, widths, layers, backbone.device)

    def deltas(self) -> Mapping[str, LowRankDeltas]:
        """Return the changes of both towers."""
        return self.low_rank.deltas() if self.config.low_rank != "none" else {}

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return DPLQ's single stage, with a learning rate of their own for S and R."""
        relation = {"low_rank.s", "low_rank.r"}
        rates = [self.config.relation_rate if name in relation else 1.0 for name, _ in self.named_parameters()]
        return [replace(stage, rates=rates) for stage in super().stages(facts)]
