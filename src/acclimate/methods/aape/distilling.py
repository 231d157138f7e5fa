"""How a prompt generator learns from sentences: the distance to what the aggregator makes of them, and the reward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.aape.aggregators import Aggregator, clip_reward, mean_prompt

if TYPE_CHECKING:
    from acclimate.methods.aape.config import AAPEConfig
    from acclimate.training.batch import Batch

WATCHED = frozenset({"image_cosine", "mean_cosine", "attention_entropy"})


def aggregate(
    aggregator: Aggregator, config: AAPEConfig, batch: Batch, images: Tensor
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """Return p^a of the images of a batch (B, E), L2-normalised, the attention (B, n) or none, and figures of both.

    The figures are means over the batch: `image_cosine` with the image, `mean_cosine` with the mean prompt, and
    `attention_entropy`, 1 where all prompts count the same, 0 where one prompt does.

    Args:
        aggregator: makes p^a.
        config: its settings.
        batch: with the reference prompts of the images.
        images: x (B, E), L2-normalised.
    """
    limit = config.reference_limit
    prompts, mask = F.normalize(batch.reference_prompts.float(), dim=-1)[:, :limit], batch.reference_mask[:, :limit]
    aggregated, attention = aggregator(prompts, mask, images, batch.index)
    with torch.no_grad():
        mean = F.normalize(mean_prompt(prompts, mask), dim=-1)
        figures = {
            "image_cosine": (aggregated * images).sum(dim=-1).mean(),
            "mean_cosine": (aggregated * mean).sum(dim=-1).mean(),
        }
        if attention is not None:
            figures["attention_entropy"] = relative_entropy(attention, mask).mean()
    return aggregated, attention, figures


def distil(
    aggregator: Aggregator, config: AAPEConfig, batch: Batch, images: Tensor, generated: Tensor
) -> dict[str, Tensor]:
    """Return lambda |h(x) - p^a|², the reward of the aggregator where it learns beside h, and the figures of both.

    Gradients of the reward reach the aggregator alone, those of the distance never do.
    Source: Huang et al. 2024 (AAPE, arXiv 2410.23698), section 3.3, equations 2 and 3.

    Args:
        aggregator, config, batch, images: as in `aggregate`.
        generated: h(x) (B, E).
    """
    aggregated, _, figures = aggregate(aggregator, config, batch, images)
    distance = (generated - aggregated.detach()).square().sum(dim=-1).mean()
    terms = {"distillation": config.distillation_weight * distance}
    if config.learns_aggregator and not config.two_stage:
        terms["reward"] = reward(config, images, aggregated)
    return terms | figures


def reward(config: AAPEConfig, images: Tensor, aggregated: Tensor) -> Tensor:
    """Return what the aggregator minimises: the reward with its sign turned."""
    return -clip_reward(images, aggregated, config.reward == "clip-score")


def relative_entropy(attention: Tensor, mask: Tensor) -> Tensor:
    """Return the entropy (B,) of attention (B, n) among the prompts of a mask (B, n), in units of the largest possible.

    One prompt alone has 0.
    """
    shares = attention / attention.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(shares).sum(dim=1)
    return entropy / mask.sum(dim=1).clamp(min=2).log()
