"""A look at aggregated and generated prompts: do they still say what the reference prompts say?"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.capabilities import PromptAttribution
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.methods.aape.method import AAPE

FAR = 0.5  # cosine with the mean prompt below which little of the prompts is left
BATCH = 256

logger = logging.getLogger("acclimate.methods")


@torch.no_grad()
def inspect(method: AAPE, train: Feed, warn: bool = True) -> tuple[dict[str, float], PromptAttribution]:
    """Look at all training images, and warn, if asked to, where the aggregate has left its prompts.

    Returns:
        Means over the images, and what was attended to and made of each. The means are the figures of
        `AAPE.aggregate`, with the cosines of the generated prompt h(x) with the aggregate (`generated_cosine`) and with
        the image (`generated_image_cosine`), and of the template of its class with the image (`template_cosine`).
    """
    method.train(False)
    device, sums = method.backbone.device, dict[str, Tensor]()
    seen: list[tuple[Tensor | None, Tensor, Tensor | None]] = []
    for batch in (chunk.to(device) for chunk in chunks(train, BATCH)):
        aggregated, attention, figures = method.aggregate(batch)
        images = method.image_directions(batch)
        generated = F.normalize(method.generator(images), dim=-1)
        figures["generated_cosine"] = (generated * aggregated).sum(dim=-1).mean()
        figures["generated_image_cosine"] = (generated * images).sum(dim=-1).mean()
        likeness = None
        if method.class_names:
            likeness = (method.class_weights()[batch.labels] * images).sum(dim=-1)
            figures["template_cosine"] = likeness.mean()
        seen.append((attention, generated, likeness))
        for name, value in figures.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + len(batch) * value
    means = {name: float(value) / len(train) for name, value in sums.items()}
    if warn and means["mean_cosine"] < FAR:
        logger.warning(
            "%s: the aggregated prompts have a cosine of %.2f with the mean of the reference prompts, so little of "
            "what the sentences say is left in them; try aggregator=convex, or a smaller aggregator_lr",
            method.name,
            means["mean_cosine"],
        )
    attentions, prompts, likenesses = zip(*seen, strict=True)
    return means, PromptAttribution(_joined(attentions), torch.cat(prompts).cpu(), _joined(likenesses))


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    return None if parts[0] is None else torch.cat([part for part in parts if part is not None]).cpu()
