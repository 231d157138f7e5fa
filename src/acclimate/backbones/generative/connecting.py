"""`LearnedConnector`: the connector of a generative model, learned anew, while the backbone stays as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.generative.families.base import VLMFamily
    from acclimate.backbones.generative.vlm import GenerativeVLM


class LearnedConnector(nn.Module):
    """A copy of the connector in float32, whose parameters are learned; at first it gives what the backbone's gives.

    Args:
        backbone: whose connector is copied.

    Raises:
        BackboneError: what the backbone's family makes of an image is more than its connector's output.
    """

    def __init__(self, backbone: GenerativeVLM) -> None:
        super().__init__()
        family = backbone._family
        if family.vision_tokens is None or not _stands_last(backbone, family):
            raise BackboneError(
                f"the connector of {backbone.name} ({family.name}) cannot be learned by itself, since the family "
                "orders, packs or extends what it gives; leave it frozen"
            )
        self.shape = (-1, family.vision_tokens, family.vision_width)
        self.layers = copy.deepcopy(family.connector).float().requires_grad_(True)

    def forward(self, vision_tokens: Tensor) -> Tensor:
        """Map "vision_tokens" (B, N V), as `encode` gives them, to tokens (B, T, D) of the language model."""
        tokens: Tensor = self.layers(vision_tokens.reshape(self.shape).float())
        return tokens.reshape(len(vision_tokens), -1, tokens.shape[-1]).to(vision_tokens.dtype)


@torch.no_grad()
def _stands_last(backbone: GenerativeVLM, family: VLMFamily) -> bool:
    """Whether the tokens of an image are what the connector gives, unchanged, in this release of transformers."""
    side = backbone.image_size
    ramp = torch.linspace(-1, 1, 3 * side**2, device=backbone.device).view(1, 3, side, side).to(backbone.dtype)
    with backbone._looking:
        tokens, vision, _ = family.features(ramp)
        alone = family.connector(vision).reshape(1, -1, family.token_width)
    return alone.shape == tokens.shape and torch.allclose(alone, tokens, rtol=1e-2, atol=1e-4)
