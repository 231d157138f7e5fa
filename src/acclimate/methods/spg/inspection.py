"""A look at generated prompts: have they collapsed, and do they serve the source domains at all?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from acclimate.methods.parts.scores import accuracy
from acclimate.methods.spg.labels import root_mean_square
from acclimate.training.feeds import Feed, chunks

if TYPE_CHECKING:
    from acclimate.methods.spg.method import SPG

COLLAPSED = 0.01  # of the spread of the labels
ASTRAY = 10.0  # times the spread of the labels
BATCH = 256

logger = logging.getLogger("acclimate.methods")


@torch.no_grad()
def inspect(method: SPG, train: Feed, val: Feed | None) -> dict[str, float]:
    """Return figures of the prompts of the training images, and warn where they are of no use.

    Args:
        method: after stage II.
        train: training images.
        val: validation images of the source domains, or none.

    Returns:
        Root mean squares per number of a prompt: `label_spread`, of the labels around their mean; `image_spread`, of
        the prompts of different images around theirs; `label_distance`, of prompts from the label of their domain.
        With validation images `val_accuracy`, and `zero_shot_val_accuracy` of the template.
    """
    method.train(False)
    device = method.backbone.device
    prompts, targets = [], []
    for batch in (chunk.to(device) for chunk in chunks(train, BATCH)):
        prompts.append(method.image_prompts(method.image_directions(batch)))
        targets.append(method.labels.values[batch.domains])
    made, wanted = torch.cat(prompts), torch.cat(targets)
    figures = {
        "label_spread": float(method.labels.spread),
        "image_spread": root_mean_square(made - made.mean(dim=0)),
        "label_distance": root_mean_square(made - wanted),
    }
    if val is not None and len(val):
        figures["val_accuracy"] = accuracy(val, method.logits, device)
        templates = method.template_directions()
        figures["zero_shot_val_accuracy"] = accuracy(val, lambda batch: method.similarities(batch, templates), device)
    for trouble in troubles(figures, len(method.labels.values)):
        logger.warning("%s: %s", method.name, trouble)
    return figures


def troubles(figures: dict[str, float], domains: int) -> list[str]:
    """Return what is wrong with generated prompts, each with what to try."""
    found, spread = [], figures["label_spread"]
    if domains > 1 and figures["image_spread"] < COLLAPSED * spread:
        found.append(
            f"the generator has collapsed: its prompts differ by {figures['image_spread']:.2g} between images, where "
            f"the labels of the domains differ by {spread:.2g}; try another seed, lr=0.0002, or generator=mixture"
        )
    if figures["label_distance"] > ASTRAY * spread:
        found.append(
            f"the prompts lie {figures['label_distance']:.2g} from the labels of their domains, which differ by "
            f"{spread:.2g} among themselves; try more epochs, labels=standardised, or generator=mixture"
        )
    if figures.get("val_accuracy", 1.0) < figures.get("zero_shot_val_accuracy", 0.0):
        found.append(
            f"validation images of the source domains are recognised less often ({figures['val_accuracy']:.3f}) than "
            f"without any training ({figures['zero_shot_val_accuracy']:.3f}); try another seed, lr=0.0002, more "
            "epochs, or generator=mixture"
        )
    return found
