"""The networks of SPG. Layers carry the numbers that they have in the released code, by which gradients are clipped."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor, nn

HIDDEN = (128, 256, 512, 1024)
JUDGING = 512
SLOPE = 0.2  # of every LeakyReLU
DROPOUT = 0.4


class PromptGenerator(nn.Sequential):
    """A prompt from an image feature and noise: Linear to 128; to 256, 512 and 1024 with batch normalisation; to n D.

    Input [z (B, Z), f (B, E)], output (B, n D). 2,871,168 numbers by E = 512, Z = 100, n D = 2,048.
    Source: Bai et al. 2024 (SPG, arXiv 2404.19286), section 4.2, sizes of its released code.

    Args:
        inputs: Z + E.
        outputs: n D.
        epsilon: of the batch normalisation.
        bounded: end in a tanh.
    """

    def __init__(self, inputs: int, outputs: int, epsilon: float = 1e-5, bounded: bool = False) -> None:
        layers: list[nn.Module] = [nn.Linear(inputs, HIDDEN[0]), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(HIDDEN):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, eps=epsilon), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers, nn.Linear(HIDDEN[-1], outputs), nn.Tanh() if bounded else nn.Identity())
        start(self)


class Discriminator(nn.Sequential):
    """How much a prompt looks like a prompt label for an image feature: input [p (B, n D), f (B, E)], output (B, 1).

    1,837,057 numbers by E = 512, n D = 2,048.
    Source: as `PromptGenerator`.

    Args:
        inputs: n D + E.
    """

    def __init__(self, inputs: int) -> None:
        layers: list[nn.Module] = [nn.Linear(inputs, JUDGING), nn.LeakyReLU(SLOPE)]
        for _ in range(2):
            layers += [nn.Linear(JUDGING, JUDGING), nn.Dropout(DROPOUT), nn.LeakyReLU(SLOPE)]
        super().__init__(*layers, nn.Linear(JUDGING, 1))
        start(self)


class PromptTransformer(nn.Module):
    """A prompt from an image feature (B, E) alone: four transformer layers over one token, and Linear to n D.

    A sequence of one token leaves attention nothing to choose: each layer is a residual linear map and a residual MLP.
    Source: the generator of DPSPG (arXiv 2505.18770), after its released code, without its negative path.

    Args:
        width: E; as many heads as divide it, at most 8.
        outputs: n D.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        heads = next(heads for heads in (8, 4, 2, 1) if width % heads == 0)
        layer = nn.TransformerEncoderLayer(width, heads, dim_feedforward=2048, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers=4, enable_nested_tensor=False)
        self.last = nn.Linear(width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return prompts (B, n D)."""
        return self.last(self.layers(features[:, None])[:, 0])


def start(network: nn.Module) -> None:
    """Draw all weights of linear layers from U(±sqrt(6 / inputs)), as released; offsets keep PyTorch's rule."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="leaky_relu")


Limits = Mapping[str, float]

CLIPPING: Mapping[str, Limits] = MappingProxyType(
    {
        "released": {"ends": 5.0, "weights": 5e-2, "biases": 5e-1, "made": 5e-3, "last": 1.0, "others": 5e-8},
        "pacs": {"ends": 5.0, "weights": 5e-1, "biases": 5e-1, "made": 5e-2, "last": 5.0, "others": 5e-7},
    }
)
"""Largest gradient norms. Discriminator: first and last layer, other weights, other biases. Generator: all weights, the
biases of its last normalisation and of its output, other biases. `released` are the defaults of the released script,
which override those of its configuration file, `pacs`."""


def generator_limits(network: PromptGenerator, profile: str) -> list[float | None]:
    """Return the largest gradient norm of each parameter of a generator; none where clipping is off."""
    if profile == "off":
        return [None for _ in network.parameters()]
    limits, last = CLIPPING[profile], {"9.bias", "11.bias"}
    return [
        limits["made" if name.endswith("weight") else "last" if name in last else "others"]
        for name, _ in network.named_parameters()
    ]


def discriminator_limits(network: Discriminator, profile: str) -> list[float | None]:
    """Return the largest gradient norm of each parameter of a discriminator; none where clipping is off."""
    if profile == "off":
        return [None for _ in network.parameters()]
    limits = CLIPPING[profile]
    return [
        limits["ends" if name.split(".")[0] in ("0", "8") else "weights" if name.endswith("weight") else "biases"]
        for name, _ in network.named_parameters()
    ]


def least_squares(verdicts: Tensor, real: bool) -> Tensor:
    """Return mean((D - 1)²) of verdicts that should be real, mean(D²) of others."""
    return (verdicts - float(real)).square().mean()


def cross_entropy(verdicts: Tensor, real: bool) -> Tensor:
    """Return the binary cross-entropy of the sigmoid of verdicts with what they should be."""
    return nn.functional.binary_cross_entropy_with_logits(verdicts, torch.full_like(verdicts, float(real)))


ADVERSARIAL = MappingProxyType({"least-squares": least_squares, "cross-entropy": cross_entropy})
THRESHOLD: Mapping[str, float] = MappingProxyType({"least-squares": 0.5, "cross-entropy": 0.0})
"""The verdict above which the discriminator says real."""
