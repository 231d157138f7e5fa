"""The tower runner: a transformer encoder seen as blocks, run with deep prompts, low-rank deltas and a cached prefix.

One runner serves every method: what a method changes inside a frozen tower is an argument of `Tower.run`, not a copy
of the model. Everything here is exact; `Tower.run` without arguments equals the plain forward of the same layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as checkpointed

from acclimate.backbones.towers.attention import attend, attend_packed
from acclimate.backbones.towers.changes import DeepPrompts, LowRankDeltas
from acclimate.backbones.towers.packing import Packing

UNCHANGED = LowRankDeltas()


@dataclass(frozen=True)
class Block:
    """One encoder layer, whatever the family calls its parts.

    Its norms stand before attention and MLP, or, with `post_norm`, behind each and what is added to it (BERT).
    """

    norm1: nn.LayerNorm
    q: nn.Linear
    k: nn.Linear
    v: nn.Linear
    out: nn.Linear
    norm2: nn.LayerNorm
    fc1: nn.Linear
    activation: Callable[[Tensor], Tensor]
    fc2: nn.Linear
    post_norm: bool = False


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values, per layer, of leading tokens that many sequences share: (heads, G, P, d) for G prefixes."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]

    def at(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer."""
        return self.keys[layer], self.values[layer]


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
        cache: PrefixCache | None = None,
        pool: int | Tensor | None = None,
        checkpoint: bool = False,
    ) -> Tensor:
        """Run all layers.

        Args:
            x: tokens with positions added: (N, L, D), or flat (T, D) with `packing`.
            packing: lengths of the sequences in a flat x.
            prompts: vectors that overwrite tokens at the input of layers.
            deltas: changes of the layers' weights and norms.
            cache: of the prefix that x continues; causal towers only. Of G prefixes, the first N / G sequences continue
                the first, and so on.
            pool: position of the one token of each sequence that is wanted, an integer (-1: the last) or (N,). The last
                layer then computes queries and its MLP for that token only.
            checkpoint: recompute the layers in the backward pass instead of keeping their activations.

        Returns:
            The tokens in the shape of x, or (N, D) with `pool`.
        """
        if not self.causal and cache is not None:
            raise ValueError("a cached prefix needs a causal tower")
        shape = x.shape
        packing = packing or Packing.even(shape[0], shape[1], x.device)
        x = x.reshape(-1, shape[-1])
        pooled = None if pool is None else _pooled_tokens(pool, packing)
        for index, block in enumerate(self.blocks):
            if prompts is not None:
                x = prompts.write(index, x)
            layer = _Layer(block, index, deltas or UNCHANGED, packing, self.heads, self.causal)
            cached = cache.at(index) if cache else None
            only = pooled if index == len(self.blocks) - 1 else None
            if checkpoint and torch.is_grad_enabled():
                x = checkpointed(layer, x, cached, only, use_reentrant=False)
            else:
                x = layer(x, cached, only)
        return x if pooled is not None else x.view(shape)

    def cache_prefix(
        self, x: Tensor, *, prompts: DeepPrompts | None = None, deltas: LowRankDeltas | None = None
    ) -> PrefixCache:
        """Keys and values of leading tokens (G, P, D), positions added, for sequences that continue them."""
        if not self.causal:
            raise ValueError("a cached prefix needs a causal tower")
        count, length, width = x.shape
        packing = Packing.even(count, length, x.device)
        x = x.reshape(-1, width)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if prompts is not None:
                x = prompts.write(index, x)
            layer = _Layer(block, index, deltas or UNCHANGED, packing, self.heads, self.causal)
            h, k, v = layer.keys_values(x)
            for store, flat in ((keys, k), (values, v)):
                store.append(flat.view(count, length, self.heads, -1).permute(2, 0, 1, 3).contiguous())
            if index < len(self.blocks) - 1:  # what leaves the last layer is needed by nobody
                x = layer.finish(x, (h, k, v))
        return PrefixCache(keys, values)


def _pooled_tokens(pool: int | Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """Rows of the pooled tokens in the flat list, and their positions, both (N,)."""
    if isinstance(pool, int) and pool == -1:
        return packing.end_rows, packing.end_positions
    positions = torch.as_tensor(pool, device=packing.end_rows.device).expand(packing.count)
    return packing.start_rows + positions, positions


@dataclass(frozen=True)
class _Layer:
    """One layer at work on flat tokens (T, D)."""

    block: Block
    index: int
    deltas: LowRankDeltas
    packing: Packing
    heads: int
    causal: bool

    def __call__(
        self, x: Tensor, cached: tuple[Tensor, Tensor] | None, only: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """The whole layer."""
        return self.finish(x, self.keys_values(x), cached, only)

    def keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What attention reads, keys and values, each (T, D)."""
        h = x if self.block.post_norm else self._norm("norm1", x)
        return h, self._linear("k", h), self._linear("v", h)

    def finish(
        self,
        x: Tensor,
        read: tuple[Tensor, Tensor, Tensor],
        cached: tuple[Tensor, Tensor] | None = None,
        only: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """The rest of the layer for all tokens, or only for one a sequence: its rows and positions, both (N,)."""
        h, k, v = read
        positions = None
        if only is not None:
            rows, positions = only
            x, h = x.index_select(0, rows), h.index_select(0, rows)
        q = self._linear("q", h)
        if cached is None and self.packing.grid_indices is None:
            attended = attend(q, k, v, self.packing, heads=self.heads, causal=self.causal, positions=positions)
        else:
            attended = attend_packed(
                q, k, v, self.packing, heads=self.heads, causal=self.causal, cached=cached, positions=positions
            )
        x = x + self._linear("out", attended)
        if self.block.post_norm:
            x = self._norm("norm1", x)
            return self._norm("norm2", x + self._mlp(x))
        return x + self._mlp(self._norm("norm2", x))

    def _mlp(self, x: Tensor) -> Tensor:
        return self._linear("fc2", self.block.activation(self._linear("fc1", x)))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        y = getattr(self.block, name)(x)
        delta = self.deltas.at(self.index).get(name)
        return y if delta is None else y + delta(x)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        norm, change = getattr(self.block, name), self.deltas.norms_at(self.index).get(name)
        return norm(x) if change is None else change(norm, x)


def quick_gelu(x: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), through SiLU: fewer passes over memory and one saved tensor instead of two."""
    return F.silu(x * 1.702).mul_(1 / 1.702)
