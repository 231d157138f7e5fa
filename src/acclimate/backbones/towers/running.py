"""Run layouts of text through a tower, images x classes in batches bounded by memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from acclimate.backbones.towers.changes import DeepPrompts, LowRankDeltas
from acclimate.backbones.towers.layout import Layout, Part, make_layout
from acclimate.backbones.towers.steps import steps
from acclimate.backbones.towers.tower import PrefixCache

if TYPE_CHECKING:
    from acclimate.backbones.families import Family

TEXTS = 1024  # texts whose embeddings are looked up at once


def run_texts(
    family: Family,
    ids: Tensor,
    *,
    deltas: LowRankDeltas | None = None,
    share: bool = True,
    max_tokens: int,
    checkpoint: bool = False,
) -> Tensor:
    """Pooled tokens (N, D) of whole texts.

    Args:
        family: whose text tower runs.
        ids: (N, L) token ids on the CPU, padded; at least one text.
        share: run what all of them begin with once.
        deltas, max_tokens, checkpoint: as in `run_layout`.
    """
    order = family.text_lengths(ids).argsort(stable=True)  # attention pads to the longest text of a batch
    pooled = []
    for some in ids[order].split(TEXTS):
        layout = make_layout(family, some, share=share, max_tokens=max_tokens)
        (batch,) = run_layout(family, layout, (), deltas=deltas, max_tokens=max_tokens, checkpoint=checkpoint)
        pooled.append(batch)
    back = order.argsort().to(family.token_table.device)
    return torch.cat(pooled).index_select(0, back)


def run_layout(
    family: Family,
    layout: Layout,
    vectors: Sequence[Tensor],
    *,
    deltas: LowRankDeltas | None = None,
    max_tokens: int,
    checkpoint: bool = False,
) -> Tensor:
    """Pooled tokens (B, C, D) of C sequences, for B images where a context depends on the image.

    Args:
        family: whose text tower runs.
        layout: the sequences.
        vectors: context and deep prompts, each (B or 1, C or 1, n, D) as `broadcast_context` gives them; entry l stands
            in place of words at the input of layer l. Empty for texts without a context.
        deltas: low-rank changes of the tower.
        max_tokens: most tokens that run at once, unless one image has more.
        checkpoint: recompute activations in the backward pass.
    """
    images = next((v.shape[0] for v in vectors if v.shape[0] != 1), 1)
    step = max(1, max_tokens // max(part.packing.token_count for part in layout.parts))
    in_prefix = len(layout.context_positions)  # vectors that stand in the prefix; the parts take the others
    batches = []
    for few in steps(images, step):
        batch = [v if v.shape[0] == 1 else v[few] for v in vectors]
        size = few.stop - few.start
        cache = _run_prefix(family, layout, [v[:, 0, :in_prefix] for v in batch], size, deltas)
        first, pooled = 0, []
        for part in layout.parts:
            classes = slice(first, first + part.packing.count)
            own = [(v if v.shape[1] == 1 else v[:, classes])[:, :, in_prefix:] for v in batch]
            pooled.append(
                _run_part(
                    family, part, layout.pool, own, images=size, cache=cache, deltas=deltas, checkpoint=checkpoint
                )
            )
            first = classes.stop
        batches.append(_join(pooled, dim=1))
    return _join(batches, dim=0)


def _run_prefix(
    family: Family, layout: Layout, vectors: Sequence[Tensor], images: int, deltas: LowRankDeltas | None
) -> PrefixCache | None:
    """Keys and values of the prefix with its vectors, each (B or 1, those in the prefix, D), in place."""
    length, positions = layout.prefix.shape[1], layout.context_positions
    if length == 0:
        return None
    if len(positions) == 0:  # no context in it: the same for all images
        return family.text.cache_prefix(family.enter_text(layout.prefix), deltas=deltas)
    filled = [v.expand(images, -1, -1) for v in vectors]
    x = layout.prefix.expand(images, -1, -1).index_add(1, positions, filled[0].to(layout.prefix.dtype))
    prompts = _deep_prompts(filled, positions, length)
    return family.text.cache_prefix(family.enter_text(x), prompts=prompts, deltas=deltas)


def _run_part(
    family: Family,
    part: Part,
    pool: int,
    vectors: Sequence[Tensor],
    *,
    images: int,
    cache: PrefixCache | None,
    deltas: LowRankDeltas | None,
    checkpoint: bool,
) -> Tensor:
    """Pooled tokens (B, C, D) of the part's C sequences with their vectors, (B or 1, C or 1, n, D), in place."""
    x, prompts, count = part.base.expand(images, -1, -1), None, part.packing.count
    if len(part.context_rows):
        filled = [v.expand(images, count, -1, -1).flatten(1, 2) for v in vectors]  # (B, C * n, D)
        x = x.index_add(1, part.context_rows, filled[0].to(x.dtype))
        prompts = _deep_prompts(filled, part.context_rows, part.packing.token_count)
    packing = part.packing.repeat(images)
    x = family.enter_text(x.reshape(packing.token_count, -1))
    out = family.text.run(
        x, packing=packing, prompts=prompts, deltas=deltas, cache=cache, pool=pool, checkpoint=checkpoint
    )
    return out.view(images, count, -1)


def _deep_prompts(vectors: Sequence[Tensor], rows: Tensor, tokens: int) -> DeepPrompts | None:
    """What overwrites the same rows in each of B copies of so many tokens from layer 1 on; each vector is (B, M, D)."""
    if len(vectors) < 2:
        return None
    starts = torch.arange(vectors[0].shape[0], device=rows.device)[:, None] * tokens
    return DeepPrompts([None, *(v.flatten(0, 1) for v in vectors[1:])], (starts + rows).flatten())


def _join(tensors: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(list(tensors), dim=dim) if len(tensors) > 1 else tensors[0]
