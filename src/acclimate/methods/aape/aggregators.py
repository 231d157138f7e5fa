"""Aggregators: one embedding of the reference prompts of an image, learned to be near the image. Training only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.methods.aape.networks import hidden_width, zeros

if TYPE_CHECKING:
    from acclimate.methods.aape.config import AAPEConfig

HEAD_WIDTH = 64
EXPANSION = 4  # of the feed-forward network


def mean_prompt(prompts: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (B, E) of prompts (B, n, E) where the mask (B, n) holds."""
    weights = mask.to(prompts.dtype)
    return (prompts * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)


def pick_one(prompts: Tensor, mask: Tensor) -> Tensor:
    """Return one of the prompts (B, n, E) of each row where the mask (B, n) holds, drawn with equal chances: (B, E)."""
    drawn = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1.0).argmax(dim=1)
    return prompts[torch.arange(len(prompts), device=prompts.device), drawn]


class Aggregator(nn.Module):
    """Base of the aggregators: the mean prompt.

    None of them depends on the order of the prompts, or on rows that the mask leaves out.

    Args:
        width: E.
        config: settings.
        images: how many images are learned from.
    """

    def __init__(self, width: int, config: AAPEConfig, images: int) -> None:
        super().__init__()
        self.width, self.config = width, config

    def forward(
        self, prompts: Tensor, mask: Tensor, images: Tensor, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return p^a (B, E), L2-normalised, and how much of it each prompt has (B, n), or none.

        Args:
            prompts: (B, n, E), L2-normalised.
            mask: (B, n), true for prompts, false for padding; one or more are true in each row.
            images: (B, E), L2-normalised.
            index: (B,) which training images they are.
        """
        return F.normalize(mean_prompt(prompts, mask), dim=-1), None


class RandomPrompt(Aggregator):
    """One of the prompts, another in each step."""

    def forward(
        self, prompts: Tensor, mask: Tensor, images: Tensor, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return one prompt of each row, drawn with equal chances."""
        return pick_one(prompts, mask), None


class BottleneckMean(Aggregator):
    """p^a = alpha f(m) + (1 - alpha) m of the mean prompt m: f a bottleneck from 0, alpha learned from 0.5.

    Source: Huang et al. 2024 (AAPE, arXiv 2410.23698), appendix B.1.
    """

    def __init__(self, width: int, config: AAPEConfig, images: int) -> None:
        super().__init__(width, config, images)
        hidden = hidden_width(width)
        self.network = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), zeros(nn.Linear(hidden, width)))
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(
        self, prompts: Tensor, mask: Tensor, images: Tensor, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the mixture."""
        mean = mean_prompt(prompts, mask)
        return F.normalize(self.share * self.network(mean) + (1 - self.share) * mean, dim=-1), None


class PromptAttention(Aggregator):
    """One layer of cross-attention from a query to the prompts, and their mean m among them.

    The query starts from m. `image_conditioned` adds Q x to it, zero at the start; `per_image` a vector of the training
    image, zero at the start; `mean` nothing. What it adds acts on the attention alone: what is summed up is
    m + sum_h O_h sum_j a_hj V_h [m, p_1 ... p_n]_j, then a feed-forward network is added, both after layer
    normalisation and zero at the start, so that training starts from p^a = m. `convex` has sum_j a_j [m, p]_j with the
    mean a of the heads' weights instead: no image can be copied into it.
    Source: Huang et al. 2024 (AAPE, arXiv 2410.23698), section 3.2, equation 1, which leaves open where the image
    enters, heads, widths and normalisation.
    """

    def __init__(self, width: int, config: AAPEConfig, images: int) -> None:
        super().__init__(width, config, images)
        self.heads = max(1, width // HEAD_WIDTH)
        while width % self.heads:
            self.heads -= 1
        self.query_norm, self.prompt_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)  # one would move all scores alike
        if config.query_mode == "image_conditioned":
            self.of_image = zeros(nn.Linear(width, width, bias=False))
        per_image = config.query_mode == "per_image"
        self.own = nn.Parameter(torch.zeros(images, width)) if per_image else None
        if config.aggregator == "attention":
            self.value, self.output = nn.Linear(width, width), zeros(nn.Linear(width, width))
            self.last_norm = nn.LayerNorm(width)
            wide = EXPANSION * width
            self.network = nn.Sequential(nn.Linear(width, wide), nn.GELU(), zeros(nn.Linear(wide, width)))

    def forward(
        self, prompts: Tensor, mask: Tensor, images: Tensor, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the aggregate, and the mean attention of the heads to each prompt."""
        mean = mean_prompt(prompts, mask)
        asked = mean
        if self.config.query_mode == "image_conditioned":
            asked = mean + self.of_image(images)
        elif self.own is not None and index is not None:
            asked = mean + self.own[index]
        rows = torch.cat([mean[:, None], prompts], dim=1)
        seen = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        normed = self.prompt_norm(rows)
        weights = self._weights(self.query_norm(asked), normed, seen)  # (B, H, n + 1)
        attention = weights.mean(dim=1)
        if self.config.aggregator == "convex":
            return F.normalize((attention[..., None] * rows).sum(dim=1), dim=-1), attention[:, 1:]
        seen_rows = weights @ normed  # (B, H, E): the values of a head are taken of their sum, not summed up
        values = torch.einsum("bhe,hde->bhd", seen_rows, self.value.weight.unflatten(0, (self.heads, -1)))
        summed = mean + self.output(values.flatten(1) + self.value.bias)
        summed = summed + self.network(self.last_norm(summed))
        return F.normalize(summed, dim=-1), attention[:, 1:]

    def _weights(self, query: Tensor, rows: Tensor, seen: Tensor) -> Tensor:
        """Return the attention (B, H, n) of queries (B, E) to rows (B, n, E), the keys on the side of the query."""
        asked = self.query(query).unflatten(-1, (self.heads, -1))  # (B, H, E / H)
        wanted = torch.einsum("bhd,hde->bhe", asked, self.key.weight.unflatten(0, (self.heads, -1)))
        scores = wanted @ rows.transpose(1, 2) / asked.shape[-1] ** 0.5
        return scores.masked_fill(~seen[:, None], -torch.inf).softmax(dim=-1)


AGGREGATORS: Mapping[str, type[Aggregator]] = MappingProxyType(
    {
        "attention": PromptAttention,
        "convex": PromptAttention,
        "mlp": BottleneckMean,
        "mean": Aggregator,
        "random": RandomPrompt,
    }
)
"""By the value of the setting `aggregator`."""


def clip_reward(images: Tensor, prompts: Tensor, clipped: bool) -> Tensor:
    """Return the mean of 2.5 cos(x, p) of directions (B, E) each, L2-normalised; `clipped` has 2.5 max(cos(x, p), 0).

    The second is CLIPScore, which teaches nothing where the cosine is negative.
    Source: Hessel et al. 2021 (CLIPScore, arXiv 2104.08718), as in Huang et al. 2024 (AAPE), section 3.2.
    """
    cosines = (images * prompts).sum(dim=-1)
    return 2.5 * (cosines.clamp(min=0) if clipped else cosines).mean()
