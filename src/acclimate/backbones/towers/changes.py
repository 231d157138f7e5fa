"""What a method changes inside a frozen tower: vectors that overwrite tokens, and changes of weights and norms.

They are arguments of a run, not copies of the model; gradients flow to the tensors in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.errors import BackboneError

PROJECTIONS = ("q", "k", "v", "out", "fc1", "fc2")
NORMS = ("norm1", "norm2")


@dataclass(frozen=True)
class DeepPrompts:
    """Vectors that overwrite some tokens at the input of each layer (MaPLe, deep VPT, IVLP, GDPL).

    Attributes:
        vectors: entry l, (M, D), is written at the input of layer l; None writes nothing there, and past the last entry
            the tokens are left to propagate.
        rows: (M,) rows of the flat list of tokens that an entry fills.
    """

    vectors: Sequence[Tensor | None]
    rows: Tensor

    @classmethod
    def within(cls, x: Tensor, vectors: Sequence[Tensor | None], start: int) -> DeepPrompts:
        """Prompts for sequences of one length, at the same positions in each.

        Args:
            x: (N, L, D), the tokens that they are for; only the shape counts.
            vectors: entries (n, D) for all sequences, or (N, n, D), one for each.
            start: the first of the n positions.
        """
        count, length, width = x.shape
        n = next((entry.shape[-2] for entry in vectors if entry is not None), 0)
        starts = torch.arange(count, device=x.device) * length + start
        rows = (starts[:, None] + torch.arange(n, device=x.device)).flatten()
        flat = [None if entry is None else entry.expand(count, n, width).reshape(-1, width) for entry in vectors]
        return cls(flat, rows)

    def write(self, layer: int, x: Tensor) -> Tensor:
        """Flat tokens (T, D) with the vectors of this layer in place."""
        vectors = self.vectors[layer] if layer < len(self.vectors) else None
        return x if vectors is None else x.index_copy(0, self.rows, vectors.to(x.dtype))


@dataclass(frozen=True)
class LowRank:
    """A low-rank change of one linear layer: y = W x + scale * b diag(s) a drop(x) (LoRA; s as in AdaLoRA and GDPL).

    Attributes:
        a: (r, inputs).
        b: (outputs, r).
        s: (r,), or None for ones.
        scale: factor of the whole change, alpha / r in LoRA's terms.
        dropout: chance that an entry of x is dropped, in this branch only; a method passes 0 in evaluation. What many
            sequences share is drawn once for all of them.
    """

    a: Tensor
    b: Tensor
    s: Tensor | None = None
    scale: float = 1.0
    dropout: float = 0.0

    def __call__(self, x: Tensor) -> Tensor:
        """The change that input x (..., inputs) brings to the output (..., outputs)."""
        x = F.dropout(x, self.dropout) if self.dropout else x
        low = F.linear(x, self.a.to(x.dtype)) * self.scale
        if self.s is not None:
            low = low * self.s.to(low.dtype)
        return F.linear(low, self.b.to(low.dtype))


@dataclass(frozen=True)
class NormChange:
    """A change of one layer norm: y = (w + weight) (x - mean x) / sd x + (b + bias).

    Attributes:
        weight, bias: (D,), what is added to those of the norm.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        """What the changed norm makes of x (..., D)."""
        weight, bias = (norm.weight + self.weight).to(x.dtype), (norm.bias + self.bias).to(x.dtype)
        return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)


@dataclass(frozen=True)
class LowRankDeltas:
    """Changes of the layers of a tower: low-rank ones of weights, and others of norms.

    Attributes:
        layers: entry l maps any of "q", "k", "v", "out", "fc1", "fc2" to its `LowRank`.
        norms: entry l maps any of "norm1", "norm2", the norms of attention and MLP, to its `NormChange`.
    """

    layers: Sequence[Mapping[str, LowRank]] = ()
    norms: Sequence[Mapping[str, NormChange]] = ()

    def __post_init__(self) -> None:
        """Refuse projections and norms that no block has."""
        for entries, known, what in ((self.layers, PROJECTIONS, "projection"), (self.norms, NORMS, "norm")):
            unknown = {name for layer in entries for name in layer} - set(known)
            if unknown:
                raise ValueError(f"no {what} named {sorted(unknown)}; choose among {', '.join(known)}")

    def at(self, layer: int) -> Mapping[str, LowRank]:
        """The low-rank changes of one layer, empty past the last entry."""
        return self.layers[layer] if layer < len(self.layers) else {}

    def norms_at(self, layer: int) -> Mapping[str, NormChange]:
        """The changes of the norms of one layer, empty past the last entry."""
        return self.norms[layer] if layer < len(self.norms) else {}


def append_prompts(x: Tensor, prompts: Sequence[Tensor]) -> tuple[Tensor, DeepPrompts | None]:
    """Append prompts to the tokens of images, and keep those that take their place in later layers.

    Args:
        x: (B, L, D), the tokens.
        prompts: entry 0 is appended, entry l stands in its place at the input of layer l; each (n, D) or (B, n, D).

    Returns:
        The tokens (B, L + n, D), and what overwrites the last n of them.

    Raises:
        BackboneError: a prompt of another shape.
    """
    if not prompts:
        return x, None
    count, start, width = x.shape
    n = prompts[0].shape[-2]
    for index, vectors in enumerate(prompts):
        if tuple(vectors.shape) != ((n, width) if vectors.ndim == 2 else (count, n, width)):
            raise BackboneError(
                f"image prompt {index} has shape {tuple(vectors.shape)}, expected {(n, width)}, "
                f"or {(count, n, width)} for prompts per image"
            )
    x = torch.cat([x, prompts[0].to(x.dtype).expand(count, n, width)], dim=1)
    return x, DeepPrompts.within(x, [None, *prompts[1:]], start)
