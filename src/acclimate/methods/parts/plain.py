"""What a method says, in terms of a plain dual encoder: changed weights, and a direction for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from acclimate.backbones import LowRankDeltas


@dataclass(frozen=True)
class PlainForm:
    """logits = scale * norm(f'(x)) . w_c + b_c, with f' the image tower of a plain model whose weights are changed.

    Attributes:
        embeddings: w (C, E) of the classes that the logits of the method are of.
        scale: factor of the products.
        bias: b (C,).
        changes: of the weights of the towers, by "text" and "vision".
        projection: (E, Dv) in place of the vision projection; none: it stays.
    """

    embeddings: Tensor
    scale: float
    bias: Tensor
    changes: Mapping[str, LowRankDeltas] = field(default_factory=dict)
    projection: Tensor | None = None
