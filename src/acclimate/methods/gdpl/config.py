"""Settings of GDPL, and what its released variant has for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from acclimate.methods.dplq import DPLQConfig
from acclimate.options import option


@dataclass(frozen=True, kw_only=True)
class GDPLConfig(DPLQConfig):
    """Settings of GDPL; the released variant has other defaults, see `VARIANTS`."""

    VARIANTS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "released": {
            **DPLQConfig.VARIANTS["released"],
            "low_rank": "plain",
            "low_rank_start": "released",
            "alpha": 1.0,
        }
    }

    low_rank: Literal["none", "plain", "diagonal", "relation"] = option(
        "relation", "changes of attention weights: none, B A, B diag(S) A, or with S' = S + S R across the two towers"
    )
    low_rank_start: Literal["zero", "released"] = option(
        "zero", "start of B; released: random for q, k and v, whose changes are then a quarter as strong"
    )
    rank: int = option(4, "rank r of every change", low=1)
    alpha: float = option(4.0, "strength of the changes, before the division by the rank", low=0.0)
    layers: int = option(9, "first layers of both towers that are changed, at most those of the shallower one", low=1)
    relation: Literal["shared", "layer", "rank"] = option(
        "shared", "whether one 2 x 2 relation R serves all layers and ranks, each layer has one, or each rank of each"
    )
    relation_spread: float = option(
        0.5,
        "spread of the first S around 1, which sets the two towers apart; 0: none, as published",
        low=0.0,
    )
    relation_rate: float = option(1.0, "learning rate of S and R, as a multiple of the others'", low=0.0)
