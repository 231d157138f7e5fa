"""Run layouts of text through a tower, images x classes in batches bounded by memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.backbones.context import Layout, Part, Per
from acclimate.backbones.tower import DeepPrompts, LowRankDeltas, Prefix, Tower


def spread(values: Tensor, per: Per) -> Tensor:
    """A context or deep prompt, (n, D) or with one leading axis, as (B or 1, C or 1, n, D)."""
    if values.ndim == 2:
        return values[None, None]
    return values[None] if per == "class" else values[:, None]


def run_layout(
    tower: Tower,
    layout: Layout,
    values: Sequence[Tensor],
    *,
    deltas: LowRankDeltas | None = None,
    max_tokens: int,
    checkpoint: bool = False,
) -> Tensor:
    """Pooled tokens (B, C, D) of C sequences, for B images where a context depends on the image.

    Args:
        tower: the text tower.
        layout: the sequences.
        values: contexts as `spread` gives them; entry l is what stands in their place at the input of layer l.
        deltas: low-rank changes of the tower.
        max_tokens: most tokens that run at once, unless one image has more.
        checkpoint: recompute activations in the backward pass.
    """
    images = max((len(v) for v in values), default=1)
    step = max(1, max_tokens // max(part.packing.tokens for part in layout.parts))
    chunks = []
    for start in range(0, images, step):
        few = [v if len(v) == 1 else v[start : start + step] for v in values]
        count = min(step, images - start)
        prefix = _run_prefix(tower, layout, few, count, deltas)
        head, first, pooled = len(layout.prefix_slots), 0, []
        for part in layout.parts:
            classes = slice(first, first + part.packing.count)
            own = [(v if v.shape[1] == 1 else v[:, classes])[:, :, head:] for v in few]
            pooled.append(
                _run_part(tower, part, own, images=count, prefix=prefix, deltas=deltas, checkpoint=checkpoint)
            )
            first = classes.stop
        chunks.append(_join(pooled, dim=1))
    return _join(chunks, dim=0)


def _run_prefix(
    tower: Tower, layout: Layout, values: Sequence[Tensor], images: int, deltas: LowRankDeltas | None
) -> Prefix | None:
    head, length = len(layout.prefix_slots), layout.prefix.shape[1]
    if length == 0:
        return None
    if head == 0:  # no context in it: the same for all images
        return tower.run_prefix(layout.prefix, deltas=deltas)
    filled = [v[:, 0, :head].expand(images, -1, -1) for v in values]
    x = layout.prefix.expand(images, -1, -1).index_add(1, layout.prefix_slots, filled[0].to(layout.prefix.dtype))
    return tower.run_prefix(x, prompts=_deep(filled, layout.prefix_slots, length), deltas=deltas)


def _run_part(
    tower: Tower,
    part: Part,
    values: Sequence[Tensor],
    *,
    images: int,
    prefix: Prefix | None,
    deltas: LowRankDeltas | None,
    checkpoint: bool,
) -> Tensor:
    x, deep, count = part.base.expand(images, -1, -1), None, part.packing.count
    if len(part.slots):
        filled = [v.expand(images, count, -1, -1).flatten(1, 2) for v in values]  # (B, C * n, D)
        x = x.index_add(1, part.slots, filled[0].to(x.dtype))
        deep = _deep(filled, part.slots, part.packing.tokens)
    packing = part.packing.repeat(images)
    if tower.causal:
        x = x.reshape(packing.tokens, -1)
        out = tower.run(x, packing=packing, prompts=deep, deltas=deltas, prefix=prefix, pool=-1, checkpoint=checkpoint)
    else:
        x = x.reshape(packing.count, packing.length, -1)
        out = tower.run(x, prompts=deep, deltas=deltas, pool=-1, checkpoint=checkpoint)
    return out.view(images, count, -1)


def _deep(values: Sequence[Tensor], slots: Tensor, stride: int) -> DeepPrompts | None:
    """What overwrites the slots of B copies of `stride` tokens each, from layer 1 on."""
    if len(values) < 2:
        return None
    starts = torch.arange(len(values[0]), device=slots.device)[:, None] * stride
    return DeepPrompts([None, *(v.flatten(0, 1) for v in values[1:])], (starts + slots).flatten())


def _join(parts: Sequence[Tensor], dim: int) -> Tensor:
    return torch.cat(list(parts), dim=dim) if len(parts) > 1 else parts[0]
