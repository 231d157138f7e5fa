"""Layouts: sequences of token ids looked up once, their common beginning apart and the rest packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.backbones.towers.packing import Packing

if TYPE_CHECKING:
    from acclimate.backbones.families import Family


@dataclass(frozen=True)
class Part:
    """Some of a layout's sequences, without the prefix.

    Attributes:
        base: (T, D) token embeddings plus positions, flat; positions alone where a context vector goes.
        packing: lengths of the sequences.
        context_rows: rows of base where context vectors go, sequence by sequence.
    """

    base: Tensor
    packing: Packing
    context_rows: Tensor


@dataclass(frozen=True)
class Layout:
    """Sequences ready to run: the tokens that all of them begin with, once, and the rest in parts of bounded size.

    Attributes:
        prefix: (1, P, D) token embeddings plus positions of the common beginning, P may be 0.
        context_positions: positions in the prefix where context vectors go; they are the first of the vectors.
        parts: what follows.
        pool: position of the token that stands for a sequence, -1 for the last.
    """

    prefix: Tensor
    context_positions: Tensor
    parts: tuple[Part, ...]
    pool: int


def make_layout(
    family: Family, ids: Tensor, per_class: bool = False, max_tokens: int = 1 << 62, share: bool = True
) -> Layout:
    """Look up everything about some sequences that does not change while a method trains.

    Args:
        family: whose embeddings to use.
        ids: (N, L) token ids on the CPU, padded; -1 - i stands for context vector i, in ascending order in every row.
        per_class: whether every sequence has context vectors of its own, which then belong to no prefix.
        max_tokens: bound on the tokens of one part, unless a single sequence is longer.
        share: whether there is a prefix at all.
    """
    shared, lengths = 0, family.text_lengths(ids)
    if family.causal_text:  # equal beginnings have equal states
        same = (ids == ids[0]).all(dim=0)
        if per_class:
            same &= ids[0] >= 0
        shared = min(int(same.int().cumprod(0).sum()), int(lengths.min()) - 1) if share else 0
    # Layouts outlive the call that makes them, so they may not be inference tensors, which autograd refuses.
    with torch.inference_mode(False), torch.no_grad():
        device = family.token_table.device
        prefix = _embed(family, ids[0, :shared], torch.arange(shared))[None]
        context_positions = (ids[0, :shared] < 0).nonzero().squeeze(1).to(device)
        parts = []
        for some in _bounded((lengths - shared).tolist(), max_tokens):
            rest, sizes = ids[some, shared:], lengths[some] - shared
            real = torch.arange(rest.shape[1]) < sizes[:, None]
            flat, positions = rest[real], (torch.arange(rest.shape[1]) + shared).expand_as(rest)[real]
            context_rows = (flat < 0).nonzero().squeeze(1).to(device)
            parts.append(Part(_embed(family, flat, positions), Packing.of(sizes.tolist(), device), context_rows))
        return Layout(prefix, context_positions, tuple(parts), family.text_pool)


def _embed(family: Family, ids: Tensor, positions: Tensor) -> Tensor:
    table = family.text_positions
    ids, positions = ids.to(table.device), positions.to(table.device)
    tokens = family.embed_tokens(ids.clamp(min=0)) * (ids >= 0).unsqueeze(-1)
    return tokens + table[positions]


def _bounded(sizes: Sequence[int], limit: int) -> Iterator[slice]:
    """Consecutive slices whose sizes add up to at most `limit` each, where single sizes allow."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            yield slice(start, index)
            start, total = index, 0
        total += size
    yield slice(start, len(sizes))
