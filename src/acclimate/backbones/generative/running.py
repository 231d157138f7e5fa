"""Passes through the language model: image and exemplars enter by an embedding hook, answers continue from a cache.

The model sees ids throughout, so its own code decides about positions and masks. Where an id is a placeholder, a hook
on the embedding puts a vector in place of what the table holds there (out of place, so gradients reach the vectors).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.backbones.generative.conversation import EXEMPLAR, Batch
from acclimate.backbones.generative.families.base import Grid, VLMFamily
from acclimate.errors import BackboneError


@dataclass
class Prefix:
    """Conversations that ran through the model, to be continued.

    A row may have several branches, which share a beginning, such as the questions about one image: the keys and values
    of all of them stand in one row of the cache, and each branch sees its own.

    Attributes:
        cache: keys and values of all layers.
        seen: (B, W, P) which columns of the cache the next token of each branch sees.
        depth: (B, P) how many tokens stand before each column in its branch.
        position: (B, W) of the next token.
        last: (B, W, D) final hidden state at the last token.
    """

    cache: Any
    seen: Tensor
    depth: Tensor
    position: Tensor
    last: Tensor

    @property
    def branches(self) -> int:
        """Number W of branches of a row."""
        return self.seen.shape[1]

    def repeat(self, count: int) -> Prefix:
        """As many rows with keys and values of their own, from a prefix of one row, which stays as it is."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(count)
        rows = (one.expand(count, *one.shape[1:]) for one in (self.seen, self.depth, self.position, self.last))
        return Prefix(cache, *rows)

    def take(self, index: Tensor) -> Prefix:
        """Go on with these branches (B, W') of each row; the cache stays as it is, and is the same one."""
        rows = torch.arange(len(index), device=index.device)[:, None]
        return Prefix(
            self.cache, self.seen[rows, index], self.depth, self.position[rows, index], self.last[rows, index]
        )


@dataclass(frozen=True)
class Tokens:
    """Tokens to run behind a prefix, in any number of chains.

    Attributes:
        ids: (B, Q).
        branch: (B, Q) of the prefix, which each token stands behind.
        chain: (B, Q) a token sees the prefix of its branch, and of these tokens those of its own chain up to itself.
        steps: (B, Q) how many tokens of its chain stand before it.
    """

    ids: Tensor
    branch: Tensor
    chain: Tensor
    steps: Tensor

    @property
    def sees(self) -> Tensor:
        """(B, Q, Q), true where a token (second axis) sees another."""
        alike = self.chain[:, :, None] == self.chain[:, None]
        return alike & (self.steps[:, :, None] >= self.steps[:, None])


def check_exemplars(batch: Batch, exemplars: Tensor | None, width: int) -> None:
    """Refuse exemplars that do not fit the conversations.

    Raises:
        BackboneError: another number or width than the conversations have places for.
    """
    wanted = set((batch.ids == EXEMPLAR).sum(1).tolist())
    shape = None if exemplars is None else tuple(exemplars.shape)
    if shape is None:
        fits = wanted == {0}
    else:
        fits = len(shape) == 3 and shape[::2] == (len(batch.ids), width) and wanted == {shape[1]}
    if fits:
        return
    raise BackboneError(
        f"the conversations have places for {sorted(wanted)} exemplars each, and these have shape {shape}; give "
        f"({len(batch.ids)}, K, {width}) and make conversations with `exemplars=K`"
    )


def forward(
    family: VLMFamily,
    batch: Batch,
    image: Tensor,
    exemplars: Tensor | None,
    grids: Sequence[Grid | None],
    cache: Any,
    behind: Prefix | None = None,
) -> tuple[Tensor, Tensor]:
    """Run whole conversations, or what follows a prefix.

    Args:
        family: the model.
        batch: of conversations.
        image: (rows, D'), vectors of all placeholders in order.
        exemplars: (B, K, D).
        grids: of each image.
        cache: to fill; None: keep nothing.
        behind: of B rows with one branch, whose cache is filled; None: conversations begin here.

    Returns:
        Final hidden states (B, L, D), and the position (B,) of what would follow.
    """
    is_image, is_exemplar = batch.ids == family.image_id, batch.ids == EXEMPLAR
    width, device = family.token_width, batch.ids.device
    places = [(is_image, image[:, :width])]
    if exemplars is not None:
        places.append((is_exemplar, exemplars.flatten(0, 1)))
    positions = family.positions(batch.ids, batch.mask, grids)
    plain = batch.ids.masked_fill(is_image | is_exemplar, 0)
    more = family.language_inputs(image.to(device), is_image)
    if behind is not None:
        positions = positions + behind.position
        zeros, steps = torch.zeros_like(batch.ids), (batch.mask.long().cumsum(1) - 1).clamp(min=0)
        tokens = Tokens(plain, zeros, (~batch.mask).long(), steps)  # padding is a chain that nothing sees
        with placed(family.embedding, places), added(family.language, more):
            hidden, _ = continued(family, behind, tokens, positions)
        return hidden, _following(positions)
    with placed(family.embedding, places), added(family.language, more):
        hidden = family.inner(
            input_ids=plain,
            attention_mask=batch.mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            **family.prefill(batch.ids, batch.mask, batch.response),
        ).last_hidden_state
    return hidden, _following(positions)


def _following(positions: Tensor) -> Tensor:
    """The position (B,) behind the largest of (B, L) or (3, B, L)."""
    largest = positions.amax(0) if positions.ndim == 3 else positions
    return largest.amax(1) + 1


def continued(
    family: VLMFamily, prefix: Prefix, tokens: Tokens, positions: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run tokens behind a prefix; its cache grows by them, the rest of it stays.

    Positions (B, Q) or (3, B, Q) are counted on, unless they are given.

    Where a single chain follows a single branch, the model makes its own mask; else it gets one, in two kinds where
    some layers see few tokens back.

    Returns:
        Final hidden states (B, Q, D), and the depth (B, Q) of the tokens.
    """
    if positions is None:
        positions = prefix.position.gather(1, tokens.branch) + tokens.steps
        positions = positions.expand(family.axes, -1, -1) if family.axes > 1 else positions
    depth = prefix.seen.sum(-1).gather(1, tokens.branch) + tokens.steps
    mask: Any
    if prefix.branches == 1 and tokens.ids.shape[1] == 1:
        mask = torch.cat([prefix.seen[:, 0], prefix.seen.new_ones(len(depth), 1)], dim=1).long()
    else:
        rows = torch.arange(len(depth), device=depth.device)[:, None]
        sees = torch.cat([prefix.seen[rows, tokens.branch], tokens.sees], dim=-1)  # (B, Q, P + Q)
        mask = _additive(sees, prefix.last.dtype)
        if family.sliding_window is not None:
            back = depth[:, :, None] - torch.cat([prefix.depth, depth], dim=1)[:, None]
            near = _additive(sees & (back < family.sliding_window), prefix.last.dtype)
            mask = {"full_attention": mask, "sliding_attention": near}
    hidden = family.language(
        input_ids=tokens.ids, attention_mask=mask, position_ids=positions, past_key_values=prefix.cache, use_cache=True
    ).last_hidden_state
    return hidden, depth


def _additive(sees: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the attention (B, 1, Q, P)."""
    mask = torch.zeros(sees.shape, dtype=dtype, device=sees.device)
    return mask.masked_fill_(~sees, torch.finfo(dtype).min)[:, None]


def stepped(family: VLMFamily, prefix: Prefix, ids: Tensor) -> Prefix:
    """Run one token (B, W) behind each branch; the prefix itself is of no use afterwards."""
    own = torch.arange(prefix.branches, device=ids.device).expand(len(ids), -1)
    last, depth = continued(family, prefix, Tokens(ids, own, own, torch.zeros_like(own)))
    itself = torch.eye(prefix.branches, dtype=torch.bool, device=ids.device).expand(len(ids), -1, -1)
    seen = torch.cat([prefix.seen, itself], dim=-1)
    return Prefix(prefix.cache, seen, torch.cat([prefix.depth, depth], dim=1), prefix.position + 1, last)


def branched(family: VLMFamily, prefix: Prefix, rests: Sequence[Sequence[Tensor]]) -> Prefix:
    """Run several continuations behind each row, which become its branches; the prefix is of no use afterwards.

    Args:
        family: the model.
        prefix: of B rows with one branch.
        rests: of each row, at least one, each of at least one token. A row with fewer of them than others has its last
            branch several times.
    """
    device = prefix.last.device
    width, longest = max(map(len, rests)), max(sum(map(len, some)) for some in rests)
    ids, steps = (torch.zeros(len(rests), longest, dtype=torch.long) for _ in range(2))
    chain = torch.full_like(ids, width)  # of padding, which no branch sees
    ends, index, counts = (torch.zeros(len(rests), width, dtype=torch.long) for _ in range(3))
    for row, some in enumerate(rests):
        sizes = torch.tensor([len(rest) for rest in some])
        joined = torch.cat(list(some))
        ids[row, : len(joined)] = joined.cpu()
        steps[row, : len(joined)] = torch.cat([torch.arange(size) for size in sizes.tolist()])
        chain[row, : len(joined)] = torch.arange(len(some)).repeat_interleave(sizes)
        index[row] = torch.arange(width).clamp(max=len(some) - 1)
        ends[row], counts[row] = sizes.cumsum(0)[index[row]] - 1, sizes[index[row]]
    ids, steps, chain, ends, index, counts = (one.to(device) for one in (ids, steps, chain, ends, index, counts))
    hidden, depth = continued(family, prefix, Tokens(ids, torch.zeros_like(ids), chain, steps))
    own = chain[:, None] == index[:, :, None]  # (B, W, Q)
    seen = torch.cat([prefix.seen.expand(-1, width, -1), own], dim=-1)
    last = hidden.gather(1, ends[..., None].expand(-1, -1, hidden.shape[-1]))
    return Prefix(prefix.cache, seen, torch.cat([prefix.depth, depth], dim=1), prefix.position + counts, last)


@contextmanager
def placed(embedding: nn.Module, places: Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Put vectors in place of embeddings in the passes within.

    Args:
        embedding: of tokens.
        places: where (B, L) each kind of vectors (rows, D) stands, row by row.
    """

    def put(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        for where, vectors in places:
            out = out.masked_scatter(where[..., None], vectors.to(out.device, out.dtype))
        return out

    handle = embedding.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def added(module: nn.Module, more: dict[str, Any]) -> Iterator[None]:
    """Give a module more arguments in the passes within."""
    if not more:
        yield
        return
    handle = module.register_forward_pre_hook(lambda _, args, kwargs: (args, kwargs | more), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
