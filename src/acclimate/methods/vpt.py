"""VPT: learned tokens in the image tower, shallow or deep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from acclimate.methods.parts.deep_prompts import DeepPromptClassifier, DeepPromptRecipe
from acclimate.methods.registry import register
from acclimate.options import option


@dataclass(frozen=True, kw_only=True)
class VPTConfig(DeepPromptRecipe):
    """Settings of VPT; the defaults are those of deep vision prompting released with MaPLe for ViT-B/16."""

    prompt_tokens: int = option(8, "prompt tokens of the image tower", low=1)
    depth: int = option(
        12,
        "layers with prompts of their own, at most those of the tower; 1: VPT-shallow, 0: none, which is zero-shot",
        low=0,
    )
    lr: float = option(2.5e-3, "learning rate after warm-up", low=0.0)


@register
class VPT(DeepPromptClassifier):
    """Visual Prompt Tuning.

    z = norm(f([x, V_0]; V_1 ... V_{K-1})), where V_l (m, Dv) overwrites the prompt tokens at the input of layer l; with
    K = 1 (VPT-shallow) they are tokens like others from there on. Minimises the cross-entropy of
    p(c|x) = softmax_c(s cos(z, w_c) + b) over V alone, with w_c = norm(g(template(c))) frozen.
    Source: Jia et al. 2022 (arXiv 2203.12119), section 3.2, with CLIP's text directions in place of a learned head, as
    in Khattak et al. 2023 (MaPLe, arXiv 2210.03117), section 4.2; recipe as released with the latter: m = 8, K = 12,
    V from N(0, 0.02), SGD, learning rate 0.0025, 5 epochs, batches of 4.
    """

    name = "vpt"
    title = "Visual prompt tuning, deep or shallow"
    paper = "arXiv 2203.12119"
    learns = "8 image tokens a layer: 8 x image width numbers each"
    Config = VPTConfig
    config: VPTConfig

    def make(self) -> None:
        """Make V (K, m, Dv), nothing where K is 0."""
        depth = self.fit_depth("depth", "vision", self.config.depth)
        vision = self.random_prompts(depth, self.config.prompt_tokens, self.backbone.vision_width)
        self.vision = nn.Parameter(vision) if depth else None

    def vision_prompts(self) -> Sequence[Tensor] | None:
        """Return V_0 ... V_{K-1}, each (m, Dv)."""
        return None if self.vision is None else self.vision.unbind()
