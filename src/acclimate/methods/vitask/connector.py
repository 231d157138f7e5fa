"""What stands behind the image: a feature of the task-specific model, mapped to a token, or learned tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Connector(nn.Module):
    """The learned map of a task-specific model's features to tokens of the language model.

    The paper names it and does not say what it is; this is the form of InternVL's own connector. `linear` is one layer.

    Args:
        width: F of the features.
        token_width: D of the language model's tokens.
        form: "mlp" or "linear".
    """

    def __init__(self, width: int, token_width: int, form: str = "mlp") -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.LayerNorm(width), nn.Linear(width, token_width)]
        if form == "mlp":
            layers += [nn.GELU(), nn.Linear(token_width, token_width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (..., F) to tokens (..., D)."""
        tokens: Tensor = self.layers(features.float())
        return tokens


class LearnedTokens(nn.Module):
    """Tokens that are the same for every image: whether an exemplar has to depend on the image.

    Args:
        count: K.
        token_width: D.
    """

    def __init__(self, count: int, token_width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(count, token_width) * token_width**-0.5)

    def forward(self, images: int) -> Tensor:
        """Return the tokens (B, K, D) for B images."""
        return self.tokens.expand(images, -1, -1)
