"""MaPLe: deep text prompts, and image prompts that are linear maps of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from acclimate.methods.parts.deep_prompts import DeepPromptClassifier, DeepPromptRecipe
from acclimate.methods.registry import register
from acclimate.options import option


@dataclass(frozen=True, kw_only=True)
class MaPLeConfig(DeepPromptRecipe):
    """Settings of MaPLe; the defaults are those released for base-to-novel generalisation on ViT-B/16."""

    prompt_tokens: int = option(2, "prompt tokens n of each tower", low=1)
    depth: int = option(
        9,
        "layers J of both towers with prompts of their own, at most those of the shallower one; 1: the inputs only",
        low=1,
    )
    context_init: str | None = option(
        "a photo of a",
        "words before the class, the first prompt_tokens of which are learned; 'template': the domain's; "
        "none: N(0, 0.02) and no other words",
    )


@register
class MaPLe(DeepPromptClassifier):
    """Multi-modal Prompt Learning.

    w_c = norm(g([P_0, c]; P_1 ... P_{J-1})), z = norm(f([x, V_0]; V_1 ... V_{J-1})), V_l = F_l(P_l) with linear F_l:
    the image prompts of each layer are coupled to its text prompts. Minimises the cross-entropy of
    p(c|x) = softmax_c(s cos(z, w_c) + b) over P (J, n, D) and the weights and biases of F_0 ... F_{J-1}:
    J (n D + (D + 1) Dv) numbers.
    Source: Khattak et al. 2023 (arXiv 2210.03117), section 3.2; recipe as released: n = 2, J = 9, P_0 from "a photo",
    the rest from N(0, 0.02), F_1 ... F_{J-1} from one draw of torch's default, F_0 from another, SGD, learning rate
    0.0035, 5 epochs, batches of 4.
    """

    name = "maple"
    title = "Multi-modal prompt learning"
    paper = "arXiv 2210.03117"
    learns = "2 text tokens and a map to image tokens a layer: 2 x text width + (text width + 1) x image width numbers"
    Config = MaPLeConfig
    config: MaPLeConfig

    def make(self) -> None:
        """Make P (J, n, D) and F_0 ... F_{J-1}."""
        config = self.config
        depth = self.fit_both("depth", config.depth)
        self.text = nn.Parameter(self.start_text(depth, config.prompt_tokens, config.context_init))
        self.couplings = self.make_couplings(depth)

    def text_prompts(self) -> Sequence[Tensor]:
        """Return P_0 ... P_{J-1}, each (n, D)."""
        return self.text.unbind()

    def vision_prompts(self) -> Sequence[Tensor]:
        """Return V_l = F_l(P_l), each (n, Dv)."""
        return [couple(prompts) for couple, prompts in zip(self.couplings, self.text, strict=True)]
