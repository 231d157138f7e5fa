"""Attention over flat tokens: fused within sequences of one length, or to themselves and a prefix they share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.backbones.towers.packing import Packing


def attend(
    q: Tensor, k: Tensor, v: Tensor, packing: Packing, *, heads: int, causal: bool, positions: Tensor | None
) -> Tensor:
    """Attention within sequences of one length.

    Args:
        q: (T, D), or (N, D) for the queries at `positions` only.
        k, v: (T, D).
        packing: the N sequences, all of one length.
        heads: attention heads.
        causal: whether a query sees only keys up to its own position.
        positions: (N,) position of the one query of each sequence, None for all.
    """
    n, size = packing.count, k.shape[-1] // heads
    q, k, v = (flat.view(n, -1, heads, size).transpose(1, 2) for flat in (q, k, v))
    mask = None
    if positions is not None and causal:
        mask = (torch.arange(packing.length, device=q.device) <= positions[:, None])[:, None, None]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal and positions is None)
    return out.transpose(1, 2).reshape(-1, heads * size)


def attend_packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing,
    *,
    heads: int,
    causal: bool,
    cached: tuple[Tensor, Tensor] | None,
    positions: Tensor | None,
) -> Tensor:
    """Attention of packed sequences to themselves, and to the prefix they share.

    Scores against a prefix are one product for all the sequences that continue it, so its keys and values are never
    copied per sequence; fused attention would need those copies and takes about three times as long on short texts.

    Args:
        q: (T, D), or (N, D) for the queries at `positions` only.
        k, v: (T, D).
        packing: the N sequences.
        heads: attention heads.
        causal: whether a query sees only keys up to its own position, of which all are real tokens; else it sees all
            real tokens of its sequence.
        cached: keys and values (heads, G, P, d) of G prefixes; the first N / G sequences continue the first, and so on.
        positions: (N,) position of the one query of each sequence, None for all.
    """
    n, length, size = packing.count, packing.length, k.shape[-1] // heads
    k, v = (packing.pad(flat, heads).view(heads * n, length, size) for flat in (k, v))
    q = q * size**-0.5
    q = packing.pad(q, heads) if positions is None else q.view(n, heads, size).transpose(0, 1)
    queries = length if positions is None else 1  # of one sequence
    bias = (_future if causal else _padding)(q, packing, heads, positions)
    scores = torch.baddbmm(bias, q.reshape(heads * n, queries, size), k.mT)
    if cached is None:
        out = torch.bmm(_softmax(scores), v)
    else:
        keys, values = cached
        groups, p = keys.shape[1:3]
        before = torch.matmul(q.reshape(heads, groups, -1, size), keys.mT).view(heads * n, queries, p)
        weights = _softmax(torch.cat([before, scores], dim=-1))
        out = torch.matmul(weights[..., :p].reshape(heads, groups, -1, p), values).view(heads * n, queries, size)
        out = torch.baddbmm(out, weights[..., p:], v)
    out = out.view(heads, n * queries, size)
    return packing.unpad(out) if positions is None else out.transpose(0, 1).reshape(n, heads * size)


def _future(like: Tensor, packing: Packing, heads: int, positions: Tensor | None) -> Tensor:
    """What keeps queries from later keys: (heads * N, Q, L), minus infinity where a key is not seen."""
    n, length = packing.count, packing.length
    future = torch.full((length, length), float("-inf"), device=like.device, dtype=like.dtype).triu(1)
    if positions is None:
        return future.expand(heads * n, length, length)
    return future[positions].expand(heads, n, length).reshape(heads * n, 1, length)


def _padding(like: Tensor, packing: Packing, heads: int, positions: Tensor | None) -> Tensor:
    """What keeps queries from keys that are no tokens: (heads * N, 1, L), minus infinity where a key is not seen."""
    empty = torch.arange(packing.length, device=like.device) > packing.end_positions[:, None]
    bias = like.new_zeros(empty.shape).masked_fill(empty, float("-inf"))
    return bias.expand(heads, -1, -1).reshape(-1, 1, packing.length)


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)
