"""Deep prompts that a frozen domain encoder conditions: the one mechanism under GDPL, DPLQ and DCPL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones import LowRankDeltas
from acclimate.methods.parts import scores
from acclimate.methods.parts.deep_prompts import DeepPromptClassifier, DeepPromptRecipe
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class DomainPromptRecipe(DeepPromptRecipe):
    """Settings of methods with domain-conditioned prompts, with other defaults in the released variant."""

    VARIANTS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {
            "feature_norm": False,
            "noise": "always",
            "noise_std": None,
            "optimizer": "sgd",
            "lr": 3.5e-3,
            "crop_scale": 0.08,
        }
    }

    variant: Literal["corrected", "released"] = option(
        "corrected", "corrected: what the authors set out to do; released: what their code computes, faults included"
    )
    prompt_tokens: int = option(2, "prompt tokens n of each tower", low=1)
    depth: int = option(
        9, "layers J of both towers with prompts of their own, at most those of the shallower one", low=1
    )
    context_init: str | None = option(
        "a photo of a",
        "words before the class, the first prompt_tokens of which are learned; 'template': the domain's; "
        "none: N(0, 0.02) and no other words",
    )
    meta_width: int = option(32, "hidden width of the meta-nets on domain features", low=1)
    feature_norm: bool = option(True, "bring the numbers of each domain feature to mean 0 and variance 1")
    noise: Literal["none", "train", "always"] = option("none", "Gaussian noise: none, in training, in prediction too")
    noise_std: float | None = option(
        0.02, "standard deviation of the noise; none: the mean feature of the batch, as released", low=0.0
    )
    consistency: float = option(
        0.0,
        "weight of the distance of images and classes from what the frozen towers make of them; not in the papers",
        low=0.0,
        later=True,
    )
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the learned parameters")
    lr: float = option(1e-3, "learning rate after warm-up", low=0.0)
    crop_scale: float = option(0.5, "smallest share of the image's area in a random crop", low=0.01, high=1.0)
    checkpoint: bool = option(False, "recompute the text tower in the backward pass: less memory, more time")


class DomainPromptClassifier(DeepPromptClassifier):
    """Base of methods whose prompts depend on the image through a frozen domain encoder f.

    A meta-net turns f(x) into the bias b(x) = W_2 relu(W_1 f(x) + c_1) + c_2 in the width of the text tower. A method
    says which prompts that makes at which layer, T_l(x) for the text and V_l(x) for the image, and the logits are
    s cos(z(x), w_c(x)) + b with z = norm(f_v(x; V_0(x) ...)) and w_c(x) = norm(g([T_0(x), c]; T_1(x) ...)).

    With `consistency` lambda above 0 the loss has lambda (2 - cos(z(x), x) - mean_c cos(w_c(x), t_c)) beside the
    cross-entropy, with x the direction of the same view from the frozen tower, and t_c that of the domain's template.
    Source of that: KgCoOp (Yao et al. 2023, arXiv 2303.13283), equation 4, for classes; PromptSRC (Khattak et al. 2023,
    arXiv 2307.06948), section 3.2.1, for both towers, with another distance.
    """

    inputs = Inputs({"pixels", "domain_features"})
    prompts_per_image = True
    config: DomainPromptRecipe
    text: Tensor
    meta_net: nn.Module
    anchors: Tensor

    def class_prompts(self, bias: Tensor | None, features: Tensor | None) -> Sequence[Tensor]:
        """Return T_0 ... T_{J-1}, each (B, n, D), or (n, D) where no image changes it.

        Args:
            bias: b(x) (B, D), or none where nothing is conditioned.
            features: f(x) (B, F), or none likewise.
        """
        raise NotImplementedError

    def image_prompts(self, bias: Tensor | None) -> Sequence[Tensor]:
        """Return V_0 ... V_{J-1}, each (B, n, Dv), or (n, Dv) where no image changes it."""
        raise NotImplementedError

    def deltas(self) -> Mapping[str, LowRankDeltas]:
        """Return low-rank changes of the towers "text" and "vision"."""
        return {}

    def domain_bias(self, features: Tensor) -> Tensor | None:
        """Return b(x) (B, D) of domain features (B, F), or none where nothing is conditioned."""
        return self.meta_net(features)

    def image_directions_of(self, images: Tensor, features: Tensor | None) -> Tensor:
        """Return z(x) (B, E), L2-normalised, of image features (B, E); a method may add to them."""
        return F.normalize(images, dim=-1)

    # ------------------------------------------------------------------------------------------------------- training

    def set_classes(self) -> None:
        """Read the words of the classes, and encode their template where they are held to it."""
        super().set_classes()
        if self.config.consistency:
            self.register_buffer("anchors", self.template_directions(), persistent=False)  # t (C, E)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy, and the weighted distance from the frozen towers where it counts."""
        if not self.config.consistency:
            return super().loss(batch)
        features, bias = self._condition(batch)
        changes = self.deltas()
        images = self._images(batch, features, bias, changes.get("vision"))
        prompts = self.class_prompts(bias, features)
        how = {} if _shared(prompts) else {"per": "image"}
        classes = self._encode(prompts, changes.get("text"), **how).expand(len(images), -1, -1)  # w_c(x) (B, C, E)
        with torch.no_grad():
            frozen = F.normalize(self.backbone.encode_image(batch.pixels).float(), dim=-1)
        logits = self.backbone.scaled(scores.cosines_per_image(images, classes.shape[1], lambda few: classes[few]))
        distance = 2.0 - (images * frozen).sum(-1).mean() - (classes * self.anchors).sum(-1).mean()
        return {
            "cross_entropy": F.cross_entropy(logits, batch.labels),
            "consistency": self.config.consistency * distance,
        }

    # ------------------------------------------------------------------------------------------------- for all of them

    def text_prompts(self) -> Sequence[Tensor]:
        """Return P_0 ... P_{J-1}, each (n, D)."""
        return self.text.unbind()

    def make_meta_net(self, outputs: int, zero: bool = False) -> nn.Sequential:
        """Return Linear, ReLU, Linear from domain features; `zero` starts its output at zero."""
        assert self.domain_encoder is not None
        hidden = self.config.meta_width
        first, last = nn.Linear(self.domain_encoder.width, hidden), nn.Linear(hidden, outputs)
        if zero:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        return nn.Sequential(first, nn.ReLU(), last).to(self.backbone.device)

    def noisy(self, values: Tensor, source: Tensor) -> Tensor:
        """Return values with noise where the settings ask for it; `source` is what the released scale is the mean of.

        That scale ties the images of a batch to each other; a fixed `noise_std` does not.
        """
        config = self.config
        if config.noise == "none" or (config.noise == "train" and not self.training):
            return values
        std = source.mean() if config.noise_std is None else config.noise_std
        return values + torch.randn_like(values) * std

    def logits(self, batch: Batch) -> Tensor:
        """Return logits (B, C)."""
        features, bias = self._condition(batch)
        changes = self.deltas()
        images = self._images(batch, features, bias, changes.get("vision"))
        cosines = self._cosines(images, self.class_prompts(bias, features), changes.get("text"))
        return self.backbone.scaled(cosines)

    def image_directions(self, batch: Batch) -> Tensor:
        """Return z(x) (B, E)."""
        return self._images(batch, *self._condition(batch), self.deltas().get("vision"))

    def _condition(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Return f(x) (B, F) and b(x) (B, D), or none of them where nothing is conditioned."""
        features = self._features(batch)
        return features, None if features is None else self.domain_bias(features)

    def _images(
        self, batch: Batch, features: Tensor | None, bias: Tensor | None, changes: LowRankDeltas | None
    ) -> Tensor:
        images = self.backbone.encode_image(batch.pixels, self.image_prompts(bias), changes)
        return self.image_directions_of(images.float(), features)

    def _features(self, batch: Batch) -> Tensor | None:
        features = batch.domain_features if self.inputs.domain_encoder else None
        if features is None or not self.config.feature_norm:
            return features
        return F.layer_norm(features.float(), features.shape[-1:])

    def _cosines(self, images: Tensor, prompts: Sequence[Tensor], changes: LowRankDeltas | None) -> Tensor:
        """Return cos(z(x), w_c(x)) (B, C) of directions (B, E), few images at a time where each has its prompts."""
        if _shared(prompts):
            return scores.cosines(images, self._shared_classes(prompts, changes))

        def directions(few: slice) -> Tensor:
            own = [prompt[few] if prompt.ndim == 3 else prompt for prompt in prompts]
            return self._encode(own, changes, per="image")

        return scores.cosines_per_image(images, len(self.names), directions)

    def _shared_classes(self, prompts: Sequence[Tensor], changes: LowRankDeltas | None) -> Tensor:
        """Return the directions of the classes (C, E) that no image changes, kept for prediction."""
        if self.training:
            return self._encode(prompts, changes)
        return self.kept("class weights", lambda: self._encode(prompts, changes))

    def _encode(self, prompts: Sequence[Tensor], changes: LowRankDeltas | None, **how: Any) -> Tensor:
        """Return class directions, (C, E) or with `per="image"` (B, C, E)."""
        how["checkpoint"] = self.config.checkpoint
        features = self.backbone.encode_context(prompts[0], self.names, prompts=prompts[1:], deltas=changes, **how)
        return F.normalize(features.float(), dim=-1)


def _shared(prompts: Sequence[Tensor]) -> bool:
    """Return whether no image changes the prompts of the text tower, so that all images have the same classes."""
    return all(prompt.ndim == 2 for prompt in prompts)
