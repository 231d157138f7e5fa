"""DCPL: Domain-Controlled Prompt Learning."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.parts.domain_prompts import DomainPromptClassifier, DomainPromptRecipe
from acclimate.methods.registry import register


@dataclass(frozen=True, kw_only=True)
class DCPLConfig(DomainPromptRecipe):
    """Settings of DCPL; the released variant has other defaults, see `VARIANTS`."""


@register
class DCPL(DomainPromptClassifier):
    """Domain-Controlled Prompt Learning: MaPLe, shifted by a domain encoder on both sides.

    T_0(x) = P_0 + b(x), T_l = P_l; V_l = F_l(P_l); z(x) = norm(f_v(x; V) + h(f(x)) + noise) with the meta-nets b and h
    of the domain encoder's features f(x). Minimises the cross-entropy of p(c|x) = softmax_c(s cos(z(x), w_c(x)) + b)
    over P, F, b and h: J (n D + (D + 1) Dv) numbers as in MaPLe, 32 (W + D) + 32 + D in b and 32 (W + E) + 32 + E in h,
    where W is the width of f(x). The corrected variant adds h to the image direction, not to the feature of any length,
    and starts h at zero.
    Source: Cao et al. 2024 (arXiv 2310.07730), after its released code: n = 2, J = 9, SGD, learning rate 0.0035, 5
    epochs, batches of 4, noise of the size of the batch's mean image feature on each image feature, always.
    """

    name = "dcpl"
    title = "Deep prompts and image features shifted by a domain encoder"
    paper = "arXiv 2310.07730"
    learns = "MaPLe's prompts and maps, and two meta-nets from domain features"
    Config = DCPLConfig
    config: DCPLConfig

    def make(self) -> None:
        """Make P (J, n, D), F_0 ... F_{J-1} and both meta-nets."""
        config, backbone = self.config, self.backbone
        depth = self.fit_both("depth", config.depth)
        self.text = nn.Parameter(self.start_text(depth, config.prompt_tokens, config.context_init))
        self.couplings = self.make_couplings(depth)
        self.meta_net = self.make_meta_net(backbone.text_width)
        self.image_net = self.make_meta_net(backbone.embed_dim, zero=config.variant == "corrected")

    def class_prompts(self, bias: Tensor | None, features: Tensor | None) -> list[Tensor]:
        """Return T_0 (B, n, D) and T_1 ... T_{J-1}, each (n, D)."""
        assert bias is not None
        return [self.text[0] + bias[:, None], *self.text[1:]]

    def image_prompts(self, bias: Tensor | None) -> list[Tensor]:
        """Return V_l = F_l(P_l), each (n, Dv)."""
        return [couple(prompts) for couple, prompts in zip(self.couplings, self.text, strict=True)]

    def image_directions_of(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Return z(x) (B, E)."""
        if self.config.variant == "corrected":
            images = F.normalize(images, dim=-1)
        return F.normalize(self.noisy(images + self.image_net(features), images), dim=-1)

    def default_epochs(self, shots: int) -> int:
        """Return 5 epochs for any number of shots."""
        return 5
