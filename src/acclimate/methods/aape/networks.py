"""The two networks of AAPE that serve in prediction: the prompt generator h, and the projection g to class weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.backbones.towers import steps

REDUCTION = 16  # E / 16 hidden numbers, as in CoCoOp's meta-network: the published counts fit no other
NARROWEST = 8
HELD = 2**22  # numbers of hidden layers that are held at once: 16 MiB
TINY = 1e-6  # smallest length of a class weight


def hidden_width(width: int) -> int:
    """Return the width of the hidden layers for joint space of width E."""
    return max(NARROWEST, width // REDUCTION)


def zeros(layer: nn.Linear) -> nn.Linear:
    """Return a layer whose output is zero until it learns."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class PromptGenerator(nn.Module):
    """h: the prompt embedding (B, E) of image directions (B, E), two layers with ReLU. 33,312 numbers by E = 512.

    Source: Huang et al. 2024 (AAPE, arXiv 2410.23698), section 3.3, which gives 33k.

    Args:
        width: E.
        residual: add them to the image, and start from zero, so that h(x) = x before training; not in the paper.
    """

    def __init__(self, width: int, residual: bool = False) -> None:
        super().__init__()
        hidden = hidden_width(width)
        last = nn.Linear(hidden, width)
        self.layers, self.residual = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), last), residual
        if residual:
            zeros(last)

    def forward(self, images: Tensor) -> Tensor:
        """Return h(x) (B, E), not normalised."""
        made = self.layers(images)
        return images + made if self.residual else made


class Projection(nn.Module):
    """g: the weight w_c(x) of each class from its template w_c and the prompt h(x) of the image.

    `bottleneck`: W2 relu(W1 [w_c, h(x)]), 49,152 numbers by E = 512, so that h and g have the published 82k.
    `residual`: that added to w_c, W2 zero at the start, so that training starts from zero-shot.
    `fc_relu`: relu(W [w_c, h(x)] + b), what the paper's text says, 524,800 numbers.

    Only cosines with w_c(x) are ever needed, and those of the first two come from E/16 hidden numbers u of each pair:
    x W2 u and |W2 u|² = u' (W2' W2) u, without w_c(x) itself.

    Source: as `PromptGenerator`.

    Args:
        width: E.
        mode: `bottleneck`, `residual` or `fc_relu`.
    """

    def __init__(self, width: int, mode: str) -> None:
        super().__init__()
        self.width, self.mode = width, mode
        hidden = width if mode == "fc_relu" else hidden_width(width)
        self.first = nn.Linear(2 * width, hidden, bias=mode == "fc_relu")
        if mode != "fc_relu":
            self.last = nn.Linear(hidden, width, bias=False)
        if mode == "residual":
            zeros(self.last)

    def cosines(self, images: Tensor, templates: Tensor, prompts: Tensor) -> Tensor:
        """Return cos(x, w_c(x)) (B, C), in full precision, few images at a time.

        Args:
            images: x (B, E), L2-normalised.
            templates: w_c (C, E), L2-normalised.
            prompts: h(x) (B, E).
        """
        with torch.autocast(images.device.type, enabled=False):
            of_template = F.linear(templates.float(), self.first.weight[:, : self.width], self.first.bias)
            of_prompt = F.linear(prompts.float(), self.first.weight[:, self.width :])
            parts = []
            count, most = max(1, images.shape[0]), max(1, HELD // of_template.numel())
            for few in steps(count, most):  # no images make an empty table
                hidden = F.relu(of_template + of_prompt[few, None])  # (b, C, H)
                parts.append(self._cosines(images[few].float(), templates.float(), hidden))
            return torch.cat(parts)

    def _cosines(self, images: Tensor, templates: Tensor, hidden: Tensor) -> Tensor:
        if self.mode == "fc_relu":
            return torch.einsum("be,bce->bc", images, F.normalize(hidden, dim=-1))
        up = self.last.weight  # (E, H)
        products = torch.einsum("bh,bch->bc", images @ up, hidden)
        squares = torch.einsum("bch,bch->bc", hidden @ (up.T @ up), hidden)
        if self.mode == "residual":
            products = products + images @ templates.T
            squares = squares + 2 * torch.einsum("ch,bch->bc", templates @ up, hidden) + templates.square().sum(-1)
        return products / squares.clamp(min=TINY**2).sqrt()
