"""Cross-modal low-rank adaptation: changes of both towers whose singular values know of each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from acclimate.backbones import LowRank, LowRankDeltas
from acclimate.methods.gdpl.config import GDPLConfig

TOWERS = ("text", "vision")
SHARING = ("q", "k", "v")  # their changes share A and S


class CrossModalLowRank(nn.Module):
    """y = W x + gamma B diag(S') A x for the attention weights of the first L layers of both towers.

    A (r, d) and S' (r) are common to q, k and v of a layer, which have B of their own; the output projection has A and
    B of its own and no S. With S (L, r, 2) for both towers, the relation R (2, 2) couples them:

        S' = S + S R,

    where R, at first zero, is one for all, one a layer (L, 2, 2), or one a rank (L, r, 2, 2). A starts uniformly in
    ±1/sqrt(d), B at zero, so that training begins at the pretrained weights; S at 1 + N(0, spread²), because S equal in
    both towers would give both rows of R the same gradient.
    Source: Cao et al. 2024 (arXiv 2405.08668) and its released code, where S' replaces the parameters in every forward
    pass, so that S and R never learn; here S' is computed and passed on.

    Args:
        config: kind, rank, scale, layers and relation.
        widths: width d of the text and of the image tower.
        layers: L.
        device: where the tensors are made.
    """

    def __init__(self, config: GDPLConfig, widths: tuple[int, int], layers: int, device: torch.device) -> None:
        super().__init__()
        self.config, rank = config, config.rank
        self.a, self.b, self.a_out, self.b_out = (nn.ParameterDict() for _ in range(4))
        for tower, width in zip(TOWERS, widths, strict=True):
            b = torch.zeros(layers, 3 * width, rank)
            a, a_out = ((torch.rand(layers, rank, width) * 2 - 1) / math.sqrt(width) for _ in range(2))
            if config.low_rank_start == "released":  # Xavier for both, so that the towers are changed from the start
                a, b = (_xavier(*values.shape) for values in (a, b))
            values = {"a": a, "b": b, "a_out": a_out, "b_out": torch.zeros(layers, width, rank)}
            for name, value in values.items():
                getattr(self, name)[tower] = nn.Parameter(value.to(device))
        if config.low_rank != "plain":
            spread = config.relation_spread * torch.randn(layers, rank, 2)
            self.s = nn.Parameter((1 + spread).to(device))
        if config.low_rank == "relation":
            own = {"shared": (), "layer": (layers,), "rank": (layers, rank)}[config.relation]
            self.r = nn.Parameter(torch.zeros(*own, 2, 2, device=device))

    def singular_values(self) -> Tensor | None:
        """Return S' (L, r, 2) of the text and the image tower, or none in the plain kind."""
        if self.config.low_rank == "plain":
            return None
        if self.config.low_rank == "diagonal":
            return self.s
        relation = self.r if self.r.ndim == 4 else self.r.unsqueeze(-3)  # (L, r, 2, 2), (L, 1, 2, 2) or (1, 2, 2)
        return self.s + (self.s[..., None, :] @ relation).squeeze(-2)

    def deltas(self) -> dict[str, LowRankDeltas]:
        """Return the changes of each tower."""
        factor, s = self.config.alpha / self.config.rank, self.singular_values()
        inner = factor / 4 if self.config.low_rank_start == "released" else factor
        changes = {}
        for number, tower in enumerate(TOWERS):
            layers = []
            for layer, (a, b) in enumerate(zip(self.a[tower], self.b[tower], strict=True)):
                own = None if s is None else s[layer, :, number]
                change = {name: LowRank(a, part, own, inner) for name, part in zip(SHARING, b.chunk(3), strict=True)}
                change["out"] = LowRank(self.a_out[tower][layer], self.b_out[tower][layer], scale=factor)
                layers.append(change)
            changes[tower] = LowRankDeltas(layers)
        return changes


def _xavier(layers: int, rows: int, columns: int) -> Tensor:
    """Draw matrices (layers, rows, columns) uniformly at the scale of Glorot."""
    return (torch.rand(layers, rows, columns) * 2 - 1) * math.sqrt(6 / (rows + columns))
