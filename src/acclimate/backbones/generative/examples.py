"""`Opening`: questions with their answers, each about an image of its own, that stand before others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.backbones.generative.conversation import Conversation
from acclimate.backbones.generative.running import Prefix


@dataclass(frozen=True, eq=False)
class Opening:
    """In-context examples, to stand before conversations that were made with the same.

    Made by `GenerativeVLM.opening`.

    Attributes:
        images: (1, K * T * D') or (1, K * T, D), tokens of their images, one behind the other.
        exemplars: (1, K * E, D) of these images; none where they have none.
        ids: what all conversations behind them begin with, up to their own image.
        prefix: these ids, run; none where the family cannot go on with an image behind what is kept, or the template
            puts something else before the image of a question.
    """

    images: Tensor
    exemplars: Tensor | None
    ids: Tensor
    prefix: Prefix | None = None

    def begins(self, conversations: Sequence[Conversation]) -> bool:
        """Whether all conversations begin so, and have run so far."""
        count = len(self.ids)
        return self.prefix is not None and all(torch.equal(one.ids[:count], self.ids) for one in conversations)

    def before(self, images: Tensor, exemplars: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Put its images before those of conversations, and its exemplars before theirs."""
        together = torch.cat([self.images.expand(len(images), *self.images.shape[1:]), images], dim=1)
        if exemplars is None or self.exemplars is None:
            return together, exemplars
        return together, torch.cat([self.exemplars.expand(len(exemplars), -1, -1), exemplars], dim=1)


def common(one: Conversation, other: Conversation, image_id: int) -> Tensor:
    """The ids with which two conversations begin, up to their last image."""
    places = (one.ids == image_id).nonzero()[:, 0]
    gaps = (places[1:] - places[:-1] > 1).nonzero()[:, 0]  # behind the other images
    most = int(places[gaps[-1] + 1]) if len(gaps) else int(places[0])
    most = min(most, len(other.ids))
    alike = (one.ids[:most] == other.ids[:most]).long().cumprod(0).sum()
    return one.ids[: int(alike)]
