"""IVLP: independent deep prompts in both towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from acclimate.methods.parts.deep_prompts import DeepPromptClassifier, DeepPromptRecipe
from acclimate.methods.registry import register
from acclimate.options import option


@dataclass(frozen=True, kw_only=True)
class IVLPConfig(DeepPromptRecipe):
    """Settings of IVLP; the defaults are those released with MaPLe for ViT-B/16."""

    text_tokens: int = option(2, "prompt tokens of the text tower", low=1)
    text_depth: int = option(
        12, "layers of the text tower with prompts of their own, at most those it has; 1: the input only", low=1
    )
    vision_tokens: int = option(2, "prompt tokens of the image tower", low=1)
    vision_depth: int = option(
        12, "layers of the image tower with prompts of their own; 1: the input only, 0: no image prompts", low=0
    )
    context_init: str | None = option(
        "a photo of a",
        "words before the class, the first text_tokens of which are learned; 'template': the domain's; "
        "none: N(0, 0.02) and no other words",
    )


@register
class IVLP(DeepPromptClassifier):
    """Independent vision-language prompting.

    w_c = norm(g([T_0, c]; T_1 ... T_{J-1})), z = norm(f([x, V_0]; V_1 ... V_{K-1})), where T_l and V_l overwrite the
    prompt tokens at the input of layer l. Minimises the cross-entropy of p(c|x) = softmax_c(s cos(z, w_c) + b) over all
    T (n, D) and V (m, Dv), which know nothing of each other.
    Source: the baseline "independent V-L prompting" of Khattak et al. 2023 (MaPLe, arXiv 2210.03117), sections 3.2
    and 4.2, and the start of PromptSRC (arXiv 2307.06948), section 3.1; recipe as released with MaPLe: n = m = 2,
    J = K = 12, T_0 from "a photo", the rest from N(0, 0.02), SGD, learning rate 0.0035, 5 epochs, batches of 4.
    """

    name = "ivlp"
    title = "Independent deep prompts in both towers"
    paper = "arXiv 2210.03117"
    learns = "2 text and 2 image tokens a layer: 2 x text width + 2 x image width numbers each"
    Config = IVLPConfig
    config: IVLPConfig

    def make(self) -> None:
        """Make T (J, n, D), and V (K, m, Dv) unless K is 0."""
        config = self.config
        depth = self.fit_depth("text_depth", "text", config.text_depth)
        self.text = nn.Parameter(self.start_text(depth, config.text_tokens, config.context_init))
        depth = self.fit_depth("vision_depth", "vision", config.vision_depth)
        vision = self.random_prompts(depth, config.vision_tokens, self.backbone.vision_width)
        self.vision = nn.Parameter(vision) if depth else None

    def text_prompts(self) -> Sequence[Tensor]:
        """Return T_0 ... T_{J-1}, each (n, D)."""
        return self.text.unbind()

    def vision_prompts(self) -> Sequence[Tensor] | None:
        """Return V_0 ... V_{K-1}, each (m, Dv)."""
        return None if self.vision is None else self.vision.unbind()
