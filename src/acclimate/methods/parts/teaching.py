"""How a generative model learns answers: their logits, and the cross-entropy of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods.parts.generative import GenerativeClassifier
from acclimate.methods.parts.lessons import Visual

if TYPE_CHECKING:
    from acclimate.backbones.generative.vlm import Images
    from acclimate.training.batch import Batch


class Responses(NamedTuple):
    """The responses of a batch: token ids (T,), image by image, and how many each image has (B,)."""

    targets: Tensor
    lengths: Tensor


class Teachable(GenerativeClassifier):
    """A generative model that learns from answers."""

    def responses(self, batch: Batch) -> Responses:
        """Return the responses to learn."""
        rendered = [self.backbone.conversation(*lesson) for lesson in self.taught(batch)]
        parts = [conversation.ids[conversation.response] for conversation in rendered]
        device = self.backbone.device
        return Responses(torch.cat(parts).to(device), torch.tensor([len(part) for part in parts], device=device))

    def respond(self, batch: Batch, *seen: Visual) -> Tensor:
        """Return logits (n T, V) of the responses of a batch, once for each of n views of its images.

        All views have the same number of exemplars; they run through the language model together.
        """
        taught = self.taught(batch)
        rendered = [
            self.backbone.conversation(*lesson, **view.size(row)) for view in seen for row, lesson in enumerate(taught)
        ]
        images = _together([view.images for view in seen])
        exemplars = None if seen[0].exemplars is None else torch.cat([view.exemplars for view in seen])  # type: ignore[misc]
        return self.backbone.response_logits(rendered, images, exemplars)


def token_mean(values: Tensor, lengths: Tensor) -> Tensor:
    """Return the mean over images of the mean over the tokens of each.

    Args:
        values: (T,) one for each token, image by image.
        lengths: (B,) numbers of tokens, which add up to T; images without tokens do not count.

    Returns:
        A scalar; 0 where there is no token.
    """
    weights = (1.0 / lengths.clamp(min=1).to(values.dtype)).repeat_interleave(lengths)
    return (values * weights).sum() / (lengths > 0).sum().clamp(min=1)


def cross_entropy(logits: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Return -log p(response) (Bai et al. 2024, equations 1 and 2), per token.

    Args:
        logits: (T, V).
        targets: (T,) token ids.
        lengths: as in `token_mean`.
    """
    return token_mean(F.cross_entropy(logits.float(), targets, reduction="none"), lengths)


def _together(several: Sequence[Images]) -> Images:
    """Return the images of several views, one view behind another."""
    if isinstance(several[0], Tensor):
        return torch.cat(list(several))  # type: ignore[arg-type]  # all of one kind
    return [image for images in several for image in images]
