"""PromptSRC: deep prompts in both towers that stay in agreement with the frozen model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.facts import TrainingFacts
from acclimate.methods.ivlp import IVLP, IVLPConfig
from acclimate.methods.parts.scores import similarities
from acclimate.methods.registry import register
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.inputs import Inputs
from acclimate.training.stages import GradientStage


@dataclass(frozen=True, kw_only=True)
class PromptSRCConfig(IVLPConfig):
    """Settings of PromptSRC; the defaults are those released for few-shot learning with ViT-B/16."""

    text_tokens: int = option(4, "prompt tokens of the text tower", low=1)
    text_depth: int = option(
        9, "layers of the text tower with prompts of their own, at most those it has; 1: the input only", low=1
    )
    vision_tokens: int = option(4, "prompt tokens of the image tower", low=1)
    vision_depth: int = option(
        9, "layers of the image tower with prompts of their own; 1: the input only, 0: no image prompts", low=0
    )
    lr: float = option(2.5e-3, "learning rate after warm-up", low=0.0)
    image_agreement: float = option(10.0, "weight of the distance between prompted and frozen image features", low=0.0)
    text_agreement: float = option(25.0, "weight of the distance between prompted and frozen text features", low=0.0)
    logit_agreement: float = option(1.0, "weight of the divergence of prompted from frozen predictions", low=0.0)
    aggregation_mean: float | None = option(
        30.0, "epoch, counted from 1, whose prompts weigh most in the final mean; none: keep those of the last epoch"
    )
    aggregation_std: float = option(30.0, "spread of the weights around that epoch, in epochs", low=1e-3)

    @property
    def keeps_one_epoch(self) -> bool:
        """Whether one epoch is kept; not where they are averaged."""
        return self.aggregation_mean is None


@register
class PromptSRC(IVLP):
    """Prompting with self-regulating constraints: IVLP held by three constraints.

    With prompted image and text directions z_i, w_c and frozen ones z*_i, w*_c, all of unit length, it minimises

        cross-entropy + 10 mean |z - z*| + 25 mean |w - w*| + mean_ic p*_ic (ln p*_ic - ln p_ic),

    where p and p* are the softmax of s cos(z, w) + b and of s cos(z*, w*) + b (mutual agreement), w*_c is the mean
    over many templates (textual diversity), and the prompts that are kept are sum_t a_t P_t, the mean over the epochs
    t with a_t ~ N(t; mean, std²) (Gaussian-weighted aggregation).
    Source: Khattak et al. 2023 (arXiv 2307.06948), section 3.2; means over all entries, direction of the divergence
    and recipe as released: 4 + 4 tokens, depth 9, SGD, learning rate 0.0025, 50 epochs, batches of 4, mean 30, std 30.
    """

    name = "promptsrc"
    title = "Deep prompts in agreement with the frozen model"
    paper = "arXiv 2307.06948"
    learns = "4 text and 4 image tokens a layer: 4 x text width + 4 x image width numbers each"
    inputs = Inputs({"pixels"}, training={"image_features"})
    Config = PromptSRCConfig
    config: PromptSRCConfig
    anchors: Tensor

    def set_classes(self) -> None:
        """Encode all templates of the domain once; w* is the direction of their mean feature."""
        super().set_classes()
        sentences = self.prompts.ensemble(self.class_names)
        with torch.no_grad():
            features = self.backbone.encode_text([sentence for row in sentences for sentence in row]).float()
        anchors = F.normalize(features.unflatten(0, (len(sentences), -1)).mean(dim=1), dim=-1)
        self.register_buffer("anchors", anchors, persistent=False)  # (C, E)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy and the three weighted terms of agreement."""
        config, backbone = self.config, self.backbone
        images, frozen = self.image_directions(batch), F.normalize(batch.image_features.float(), dim=-1)  # (B, E)
        classes = self.class_weights()  # (C, E)
        logits = similarities(backbone, images, classes)  # (B, C)
        expected = similarities(backbone, frozen, self.anchors)  # (B, C)
        divergence = F.kl_div(logits.log_softmax(-1), expected.log_softmax(-1), reduction="none", log_target=True)
        return {
            "cross_entropy": F.cross_entropy(logits, batch.labels),
            "image_agreement": config.image_agreement * F.l1_loss(images, frozen),
            "text_agreement": config.text_agreement * F.l1_loss(classes, self.anchors),
            "logit_agreement": config.logit_agreement * divergence.mean(),
        }

    def stages(self, facts: TrainingFacts) -> Sequence[GradientStage]:
        """Return the single stage that learns the prompts, with the weights of its epochs."""
        return [replace(stage, averaging=self.epoch_weights(stage.epochs)) for stage in super().stages(facts)]

    def epoch_weights(self, epochs: int) -> Sequence[float] | None:
        """Return the weight of each epoch in the final mean, in sum 1; none where the last epoch is kept."""
        if self.config.aggregation_mean is None:
            return None
        distance = torch.arange(1, epochs + 1, dtype=torch.float64) - self.config.aggregation_mean
        exponents = -0.5 * (distance / self.config.aggregation_std) ** 2
        return exponents.softmax(0).tolist()  # a far mean leaves the nearest epoch its weight, where exp would vanish

    def default_epochs(self, shots: int) -> int:
        """Return 50 epochs for any number of shots."""
        return 50
