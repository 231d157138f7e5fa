"""Full fine-tuning: a vision encoder with a linear head, how it is trained, and what it minimises."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones.vision_network import VisionNetwork
from acclimate.options import option
from acclimate.training.batch import Batch
from acclimate.training.recipe import Recipe, warm_cosine
from acclimate.training.stages import GradientStage

if TYPE_CHECKING:
    from acclimate.backbones import DomainEncoder

VIEWS = 12_000  # images shown in a training whose length nobody chose
FEWEST, MOST = 10, 100  # epochs of such a training
HEAD_STD = 0.02  # of the first weights of a head
TIE = 1e-6  # weight of the mean probability of the true labels, which tells epochs of equal figures apart


@dataclass(frozen=True, kw_only=True)
class FineTuneRecipe(Recipe):
    """Settings of full fine-tuning: AdamW, a linear warm-up and a cosine to zero, step by step."""

    decay_vectors: ClassVar[bool] = False
    by_step: ClassVar[bool] = True

    epochs: int | None = option(
        None, "passes over the training images; none: as many as show 12,000 images, from 10 to 100", low=1
    )
    batch_size: int = option(16, "images in a step", low=1)
    optimizer: Literal["sgd", "adamw"] = option("adamw", "optimiser of the learned parameters")
    lr: float = option(2e-4, "learning rate of the head after warm-up", low=0.0)
    layer_decay: float = option(
        0.75, "factor on the learning rate from each block of the encoder to the one before it; 1: one rate for all",
        low=0.0, high=1.0,
    )  # fmt: skip
    weight_decay: float = option(0.05, "weight decay, of matrices alone", low=0.0)
    warmup_epochs: int = option(3, "epochs of warm-up before the cosine, of all epochs a quarter at most", low=0)
    warmup: Literal["constant", "linear"] = option("linear", "shape of the warm-up")
    warmup_lr: float = option(1e-6, "learning rate of a constant warm-up, and at the start of a linear one", low=0.0)
    label_smoothing: float = option(0.1, "share of a label that is spread over all classes", low=0.0, high=0.9)
    augment: Literal["none", "crop", "flip", "crop+flip", "auto"] = option(
        "auto", "random views of the training images; auto: crops, and flips where the domain allows mirror images"
    )
    crop_scale: float = option(0.3, "smallest share of the image's area in a random crop", low=0.01, high=1.0)
    select: Literal["last", "best-val"] = option(
        "best-val",
        "which epoch is kept; best-val looks at validation data only, and means last where there are none",
    )

    def learning_rate(self, epoch: float, epochs: int) -> float:
        """Learning rate at a moment, in epochs from the start: warm-up, then half a cosine down to zero."""
        warmup = min(self.warmup_epochs, epochs / 4)
        return warm_cosine(self.lr, epoch, epochs, warmup, self.warmup_lr, self.warmup == "linear")

    def passes(self, images: int) -> int:
        """Return the number of epochs for so many images: few images need more passes to make the same steps."""
        return self.epochs or min(MOST, max(FEWEST, math.ceil(VIEWS / images)))

    def stage(
        self,
        name: str,
        network: VisionClassifier,
        images: int,
        loss: Callable[[Batch], dict[str, Tensor]],
        validation: int,
    ) -> GradientStage:
        """Return the single stage that learns all weights of a network.

        Args:
            name: of the stage.
            network: what learns.
            images: number of training images.
            loss: of a batch.
            validation: number of validation images.
        """
        recipe = self if validation else replace(self, select="last")
        rates = network.rates(self.layer_decay)
        return GradientStage(name, recipe, self.passes(images), loss, network.weights, rates=rates, divisible=True)


class VisionClassifier(nn.Module):
    """A vision encoder with a linear head on its features, o = A h(x) + b; all weights are learned.

    Attributes:
        encoder: a copy of the encoder.
        head: the linear layer, normal with standard deviation 0.02 and zero biases at first.

    Args:
        encoder: where the weights of the encoder come from; it stays as it is.
        outputs: number of outputs C of the head.
    """

    def __init__(self, encoder: DomainEncoder, outputs: int) -> None:
        super().__init__()
        self.encoder = VisionNetwork(encoder)
        self.head = nn.Linear(self.encoder.width, outputs)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)
        self.head.to(encoder.device)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the outputs (B, C) of pixels (B, 3, H, W), normalised for the encoder."""
        outputs: Tensor = self.head(self.encoder(pixels))
        return outputs.float()

    @property
    def weights(self) -> list[nn.Parameter]:
        """What is learned, the encoder first."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    def rates(self, decay: float) -> list[float]:
        """Return a multiple of the learning rate for each of `weights`: decay^(L + 1 - depth), 1 for the head.

        Embeddings have depth 0, block k of L has depth k, and what stands behind the last block L + 1.
        Source: Bao et al. 2021 (arXiv 2106.08254), appendix; He et al. 2022 (arXiv 2111.06377), appendix A.1.
        """
        depths, blocks = self.encoder.depths()
        return [decay ** (blocks + 1 - depth) for depth in depths] + [1.0] * len(list(self.head.parameters()))


def cross_entropy(outputs: Tensor, targets: Tensor, among: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return -Σ_c q_c ln p_c (B,), with p the softmax over some of the outputs, and q = (1 - ε) y + ε / K on those K.

    Args:
        outputs: (B, C).
        targets: y (B, C), 1 at the class of each image and 0 elsewhere.
        among: (B, C) bool, which outputs are classes of the data that an image is of; the others do not count.
        smoothing: ε.
    """
    logs = outputs.float().masked_fill(~among, -math.inf).log_softmax(-1).masked_fill(~among, 0.0)
    spread = among.float() / among.sum(-1, keepdim=True)
    return -(((1 - smoothing) * targets + smoothing * spread) * logs).sum(-1)


def binary_cross_entropy(outputs: Tensor, targets: Tensor, among: Tensor) -> Tensor:
    """Return the mean over some of the outputs of -y ln σ(o) - (1 - y) ln(1 - σ(o)) (B,); arguments as above."""
    each = F.binary_cross_entropy_with_logits(outputs.float(), targets.float(), reduction="none")
    return (each * among).sum(-1) / among.sum(-1)


def one_hot(labels: Tensor, outputs: int) -> Tensor:
    """Return targets (B, C) of labels (B,)."""
    return F.one_hot(labels, outputs).to(torch.float32)
