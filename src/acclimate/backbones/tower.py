"""The tower runner: a transformer encoder seen as blocks, with deep prompts, low-rank deltas and a shared prefix.

One runner serves every method: what a method changes inside a frozen tower is an argument of `Tower.run`, not a copy
of the model. Everything here is exact; `Tower.run` without arguments equals the plain forward of the same layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as checkpointed

from acclimate.backbones.attention import attend, attend_past
from acclimate.backbones.packing import Packing

PROJECTIONS = ("q", "k", "v", "out", "fc1", "fc2")


@dataclass(frozen=True)
class Block:
    """One pre-norm encoder layer, whatever the family calls its parts."""

    norm1: nn.Module
    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    out: nn.Linear
    norm2: nn.Module
    fc1: nn.Linear
    activation: Callable[[Tensor], Tensor]
    fc2: nn.Linear


@dataclass(frozen=True)
class DeepPrompts:
    """Vectors that overwrite some tokens at the input of each layer (MaPLe, deep VPT, IVLP, GDPL).

    Attributes:
        values: entry l is written at the input of layer l; None writes nothing there, and past the last entry the
            tokens are left to propagate.
        where: first position, in sequences of one length; an entry is then (n, D) for all sequences or (N, n, D) for
            each. Or the (M,) rows of the flat token list that an entry (M, D) fills.
    """

    values: Sequence[Tensor | None]
    where: int | Tensor

    def write(self, layer: int, x: Tensor, packing: Packing) -> Tensor:
        """Flat tokens (T, D) with the prompts of this layer in place."""
        values = self.values[layer] if layer < len(self.values) else None
        if values is None:
            return x
        rows = self.where
        if isinstance(rows, int):
            n, width = values.shape[-2:]
            values = values.expand(packing.count, n, width).reshape(-1, width)
            starts = torch.arange(packing.count, device=x.device) * packing.length + rows
            rows = (starts[:, None] + torch.arange(n, device=x.device)).flatten()
        return x.index_copy(0, rows, values.to(x.dtype))


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
class LowRankDeltas:
    """Low-rank changes per layer: entry l maps any of "q", "k", "v", "out", "fc1", "fc2" to its `LowRank`."""

    layers: Sequence[Mapping[str, LowRank]]

    def __post_init__(self) -> None:
        """Refuse projections that no block has."""
        unknown = {name for layer in self.layers for name in layer} - set(PROJECTIONS)
        if unknown:
            raise ValueError(f"no projection named {sorted(unknown)}; choose among {', '.join(PROJECTIONS)}")

    def at(self, layer: int) -> Mapping[str, LowRank]:
        """The changes of one layer, empty past the last entry."""
        return self.layers[layer] if layer < len(self.layers) else {}


@dataclass(frozen=True)
class Prefix:
    """Keys and values, per layer, of leading tokens that many sequences share: (heads, G, P, d) for G prefixes."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]

    @property
    def groups(self) -> int:
        """G, the number of prefixes."""
        return self.keys[0].shape[1]


class Tower:
    """A transformer encoder without its embeddings and final norm.

    Args:
        blocks: the layers, first to last.
        heads: attention heads of every layer.
        causal: whether a token sees only itself and those before it.
    """

    def __init__(self, blocks: Sequence[Block], heads: int, causal: bool) -> None:
        self.blocks, self.heads, self.causal = tuple(blocks), heads, causal

    def run(
        self,
        x: Tensor,
        *,
        packing: Packing | None = None,
        prompts: DeepPrompts | None = None,
        deltas: LowRankDeltas | None = None,
        prefix: Prefix | None = None,
        pool: int | Tensor | None = None,
        checkpoint: bool = False,
    ) -> Tensor:
        """Run all layers.

        Args:
            x: tokens with positions added: (N, L, D), or flat (T, D) with `packing`.
            packing: lengths of the sequences in a flat x; causal towers only.
            prompts: vectors that overwrite tokens at the input of layers.
            deltas: low-rank changes of the layers' weights.
            prefix: leading tokens that x continues; causal towers only. With G prefixes the N sequences come in G equal
                runs, one after another, each continuing its own prefix.
            pool: position of the one token of each sequence that is wanted, an integer (-1: the last) or (N,). The last
                layer then computes queries and its MLP for that token only.
            checkpoint: recompute the layers in the backward pass instead of keeping their activations.

        Returns:
            The tokens in the shape of x, or (N, D) with `pool`.
        """
        if not self.causal and (packing is not None or prefix is not None):
            raise ValueError("packed sequences and shared prefixes need a causal tower")
        shape = x.shape
        if packing is None:
            packing = Packing.even(shape[0], shape[1], x.device)
        elif isinstance(pool, Tensor) or pool not in (None, -1):
            raise ValueError("packed sequences are pooled at their last token: pass pool=-1")
        x = x.reshape(-1, shape[-1])
        keep = None if pool is None else _pooled(pool, packing)
        for index, block in enumerate(self.blocks):
            if prompts is not None:
                x = prompts.write(index, x, packing)
            layer = _Layer(block, deltas.at(index) if deltas else {}, packing, self.heads, self.causal)
            past = (prefix.keys[index], prefix.values[index]) if prefix else None
            wanted = keep if index == len(self.blocks) - 1 else None
            if checkpoint and torch.is_grad_enabled():
                x = checkpointed(layer, x, past, wanted, use_reentrant=False)
            else:
                x = layer(x, past, wanted)
        return x if keep is not None else x.view(shape)

    def run_prefix(
        self, x: Tensor, *, prompts: DeepPrompts | None = None, deltas: LowRankDeltas | None = None
    ) -> Prefix:
        """Keys and values of leading tokens (G, P, D), positions added, for sequences that continue them."""
        if not self.causal:
            raise ValueError("a shared prefix needs a causal tower")
        count, length, width = x.shape
        packing = Packing.even(count, length, x.device)
        x = x.reshape(-1, width)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if prompts is not None:
                x = prompts.write(index, x, packing)
            layer = _Layer(block, deltas.at(index) if deltas else {}, packing, self.heads, self.causal)
            h, k, v = layer.keys_values(x)
            for store, part in ((keys, k), (values, v)):
                store.append(part.view(count, length, self.heads, -1).permute(2, 0, 1, 3).contiguous())
            if index < len(self.blocks) - 1:  # what leaves the last layer is needed by nobody
                x = layer.finish(x, (h, k, v))
        return Prefix(keys, values)


def _pooled(pool: int | Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """Rows of the wanted tokens in the flat list, and their positions, both (N,)."""
    if isinstance(pool, int) and pool == -1:
        return packing.ends, packing.last
    starts = torch.arange(packing.count, device=packing.ends.device) * packing.length
    position = torch.as_tensor(pool, device=starts.device).expand(packing.count)
    return starts + position, position


@dataclass(frozen=True)
class _Layer:
    """One layer at work on flat tokens (T, D)."""

    block: Block
    deltas: Mapping[str, LowRank]
    packing: Packing
    heads: int
    causal: bool

    def __call__(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, keep: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The whole layer."""
        return self.finish(x, self.keys_values(x), past, keep)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The normed input, keys and values, each (T, D)."""
        h = self.block.norm1(x)
        return h, self._linear("k", h), self._linear("v", h)

    def finish(
        self,
        x: Tensor,
        normed: tuple[Tensor, Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None = None,
        keep: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The rest of the layer, for all tokens or for the `keep` (rows, positions) only."""
        h, k, v = normed
        if keep is not None:
            x, h = x.index_select(0, keep[0]), h.index_select(0, keep[0])
        q = self._linear("q", h)
        positions = None if keep is None else keep[1]
        if past is None and self.packing.slots is None:
            attended = attend(q, k, v, self.packing, heads=self.heads, causal=self.causal, positions=positions)
        else:
            attended = attend_past(q, k, v, self.packing, heads=self.heads, past=past, positions=positions)
        x = x + self._linear("out", attended)
        return x + self._linear("fc2", self.block.activation(self._linear("fc1", self.block.norm2(x))))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        y = getattr(self.block, name)(x)
        delta = self.deltas.get(name)
        return y if delta is None else y + delta(x)


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), through SiLU: fewer passes over memory and one saved tensor instead of two."""
    return F.silu(x * 1.702).mul_(1 / 1.702)
