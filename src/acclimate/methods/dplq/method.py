"""DPLQ: Domain Prompt Learning with Quaternion Networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.dplq.mixers import make_mixer
from acclimate.methods.parts.domain_prompts import DomainPromptClassifier, DomainPromptRecipe
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class DPLQConfig(DomainPromptRecipe):
    """Settings of DPLQ; the released variant has other defaults, see `VARIANTS`."""

    VARIANTS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {
            **DomainPromptRecipe.VARIANTS["released"],
            "conditioning": "first",
            "mixer": "quaternion-padded",
            "residual": False,
            "image_bias": False,
        }
    }

    conditioning: Literal["none", "first", "deep"] = option(
        "deep", "text layers whose prompts the domain encoder changes: none (nor image prompts), the first, or all J"
    )
    mixer: Literal["dense", "bottleneck", "quaternion-padded", "quaternion-axes"] = option(
        "quaternion-axes", "layer that mixes prompt and bias; bottleneck: a dense one as small as quaternion-padded"
    )
    residual: bool = option(True, "add what a mixer gives, at first zero, to a learned prompt instead of replacing it")
    image_bias: bool = option(True, "add a second meta-net's output, at first zero, to the image direction, as in DCPL")


@register
class DPLQ(DomainPromptClassifier):
    """Domain Prompt Learning with Quaternion Networks.

    A frozen domain encoder sees the image as well and gives f(x); a meta-net turns it into the bias
    b(x) = W_2 relu(W_1 f(x) + c_1) + c_2 in the width of the text tower. Mixers M_l, N_l (quaternion layers) write it
    into the prompts of both towers:

        T_0(x) = P_0 + M_0(P_0, b(x) + noise),  T_l(x) = P_l + M_l(P_l, b(x))   text prompts, l = 1 ... J-1
        V_0 = C P_0,                            V_l(x) = G_l + N_l(P_l, b(x))   image prompts

    Minimises the cross-entropy of p(c|x) = softmax_c(s cos(z(x), w_c(x)) + b) with w_c(x) = norm(g([T_0(x), c];
    T_1(x) ...)) and z(x) = norm(norm(f_v(x; V_0, V_1(x) ...)) + h(f(x))) over P, G, C, both meta-nets and all mixers.
    `variant="released"` has T_0(x) = M_0(P_0 + b(x) + noise), T_l = P_l, V_l(x) = N_l(P_l + b(x)) and h = 0.
    Source: Cao et al. 2024 (arXiv 2312.08878), after its released code; h as in DCPL (arXiv 2310.07730); recipe as
    released: n = 2, J = 9, SGD, learning rate 0.0035, 15 epochs, batches of 4.
    """

    name = "dplq"
    title = "Domain-conditioned deep prompts through quaternion layers"
    paper = "arXiv 2312.08878"
    learns = "deep prompts, meta-nets from domain features, a quaternion layer for each conditioned prompt"
    Config: ClassVar[type] = DPLQConfig
    config: DPLQConfig

    @classmethod
    def inputs_of(cls, config: object) -> Inputs:
        """Return what it reads: no domain features where nothing is conditioned on them."""
        assert isinstance(config, DPLQConfig)
        conditioned = config.conditioning != "none" or config.image_bias
        return cls.inputs if conditioned else cls.inputs.without("domain_features")

    # ------------------------------------------------------------------------------------------------ what is learned

    def make(self) -> None:
        """Make the prompts, mixers and meta-nets."""
        config, backbone = self.config, self.backbone
        n, width = config.prompt_tokens, backbone.text_width
        depth = self.fit_both("depth", config.depth)
        self.text = nn.Parameter(self.start_text(depth, n, config.context_init))  # P (J, n, D)
        self.coupling = nn.Linear(width, backbone.vision_width).to(backbone.device)  # C
        conditioned = {"none": 0, "first": 1, "deep": depth}[config.conditioning]
        self.text_mixers = self._mixers(conditioned, width)
        self.vision_mixers = self._mixers(depth - 1, backbone.vision_width)
        if config.residual and depth > 1:
            self.vision = nn.Parameter(self.random_prompts(depth - 1, n, backbone.vision_width))  # G (J - 1, n, Dv)
        if config.conditioning != "none":
            self.meta_net = self.make_meta_net(width)
        if config.image_bias:
            self.image_net = self.make_meta_net(backbone.embed_dim, zero=True)

    def _mixers(self, count: int, outputs: int) -> nn.ModuleList:
        config, backbone = self.config, self.backbone
        width = backbone.text_width
        mixers = (make_mixer(config.mixer, width, outputs, backbone.device, config.residual) for _ in range(count))
        return nn.ModuleList(mixers)

    # ---------------------------------------------------------------------------------------------------- the equations

    def class_prompts(self, bias: Tensor | None, features: Tensor | None) -> list[Tensor]:
        """Return T_0 ... T_{J-1}, each (B, n, D), or (n, D) where no image changes it."""
        prompts = list(self.text)
        if bias is not None and features is not None:
            shifts = [self.noisy(bias, features)] + [bias] * (len(self.text_mixers) - 1)
            for layer, (mix, shift) in enumerate(zip(self.text_mixers, shifts, strict=True)):
                prompts[layer] = self._mixed(mix(prompts[layer], shift), prompts[layer])
        return prompts

    def image_prompts(self, bias: Tensor | None) -> list[Tensor]:
        """Return V_0 ... V_{J-1}, V_0 (n, Dv), the others (B, n, Dv), or (n, Dv) where nothing is conditioned."""
        deeper = [mix(prompt, bias) for mix, prompt in zip(self.vision_mixers, self.text[1:], strict=True)]
        if self.config.residual and deeper:
            deeper = [self._mixed(mixed, own) for mixed, own in zip(deeper, self.vision, strict=True)]
        return [self.coupling(self.text[0]), *deeper]

    def _mixed(self, mixed: Tensor, prompt: Tensor) -> Tensor:
        return prompt + mixed if self.config.residual else mixed

    def domain_bias(self, features: Tensor) -> Tensor | None:
        """Return b(x) (B, D), or none where nothing is conditioned."""
        return self.meta_net(features) if self.config.conditioning != "none" else None

    def image_directions_of(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Return z(x) (B, E)."""
        if self.config.image_bias:
            images = F.normalize(images, dim=-1) + self.image_net(features)
        return F.normalize(images, dim=-1)

    def default_epochs(self, shots: int) -> int:
        """Return 15 epochs for any number of shots."""
        return 15
