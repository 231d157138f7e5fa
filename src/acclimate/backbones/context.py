"""How texts and learned context vectors are laid out as sequences of tokens."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from acclimate.backbones.packing import Packing
from acclimate.errors import BackboneError

if TYPE_CHECKING:
    from acclimate.backbones.families import Family

Position = Literal["end", "middle", "front"]
Per = Literal["shared", "class", "image"]

log = logging.getLogger("acclimate.backbones")


@dataclass(frozen=True, eq=False)
class ClassTokens:
    """The words of each class as token ids, ready to be joined with context vectors.

    Attributes:
        words: what each class is called in a prompt.
        names: token ids of the words.
        tails: token ids of what ends the prompt: the full stop and EOS.
    """

    words: tuple[str, ...]
    names: tuple[tuple[int, ...], ...]
    tails: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.words)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of every class, tail included."""
        return tuple(len(name) + len(tail) for name, tail in zip(self.names, self.tails, strict=True))

    def after(self, ids: Sequence[int]) -> ClassTokens:
        """The same classes, each behind the same token ids, such as those of "of a"."""
        return replace(self, names=tuple((*ids, *name) for name in self.names))


def context_rows(names: ClassTokens, n: int, position: Position, lead: Sequence[int], limit: int) -> list[list[int]]:
    """Join every class with n context vectors.

    Args:
        names: the classes.
        n: number of context vectors.
        position: "end" puts the class after the context, "middle" between its halves, "front" before it.
        lead: token ids that begin every text.
        limit: longest sequence allowed; longer class names lose their last tokens.

    Raises:
        BackboneError: no room for a class name, or an unknown position.
    """
    vectors = [-1 - i for i in range(n)]
    cuts = {"end": n, "middle": n // 2, "front": 0}
    if position not in cuts:
        raise BackboneError(f"no class position {position!r}; choose end, middle or front")
    before, after = vectors[: cuts[position]], vectors[cuts[position] :]
    rows, cut = [], []
    for words, name, tail in zip(names.words, names.names, names.tails, strict=True):
        room = limit - len(lead) - n - len(tail)
        if room < 1:
            raise BackboneError(f"{n} context vectors leave no room for a class name in {limit} positions; use fewer")
        if len(name) > room:
            cut.append(words)
        rows.append([*lead, *before, *name[:room], *after, *tail])
    if cut:
        log.warning("%d class name(s) cut to fit %d positions, first: %r", len(cut), limit, cut[0])
    return rows


def check_context(context: Tensor, prompts: Sequence[Tensor], per: Per, *, classes: int, width: int) -> None:
    """Refuse a context, or deep prompts that go with it, of a shape that `per` does not allow.

    Raises:
        BackboneError: naming the shape and what is taken.
    """
    own = {"shared": (), "class": (classes,), "image": tuple(context.shape[:1])}
    if per not in own:
        raise BackboneError(f"per={per!r} is unknown; choose shared, class or image")
    plain = (context.shape[-2], width)
    if tuple(context.shape) != (*own[per], *plain):
        wanted = {"shared": "(n, D)", "class": f"({classes} classes, n, D)", "image": "(images, n, D)"}[per]
        raise BackboneError(f"context has shape {tuple(context.shape)}; per={per!r} takes {wanted}, D={width}")
    for index, vectors in enumerate(prompts):
        if tuple(vectors.shape) not in {plain, tuple(context.shape)}:
            raise BackboneError(f"deep prompt {index} has shape {tuple(vectors.shape)}, not that of the context")


@dataclass(frozen=True)
class Part:
    """Some of a layout's sequences, without the beginning that all of them share.

    Attributes:
        base: (T, D) token embeddings plus positions, flat; positions alone where a context vector goes.
        packing: lengths of the sequences.
        slots: rows of base that context vectors fill, class by class.
    """

    base: Tensor
    packing: Packing
    slots: Tensor


@dataclass(frozen=True)
class Layout:
    """Sequences ready to run: the tokens that all of them begin with, once, and the rest in parts of bounded size.

    Attributes:
        prefix: (1, P, D) token embeddings plus positions of the common beginning, P may be 0.
        prefix_slots: positions in it that context vectors fill.
        parts: what follows.
    """

    prefix: Tensor
    prefix_slots: Tensor
    parts: tuple[Part, ...]


def make_layout(family: Family, ids: Tensor, per_class: bool = False, max_tokens: int = 1 << 62) -> Layout:
    """Look up everything about some sequences that does not change while a method trains.

    Args:
        family: whose embeddings to use.
        ids: (N, L) token ids on the CPU, padded; -1 - i stands for context vector i, in ascending order in every row.
        per_class: whether every sequence has context vectors of its own, which then belong to no common beginning.
        max_tokens: bound on the tokens of one part, unless a single sequence is longer.
    """
    shared, lengths = 0, torch.full((len(ids),), ids.shape[1])
    if family.causal_text:  # nothing after the pooled token can reach it, and equal beginnings have equal states
        lengths = family.text_pool(ids) + 1
        same = (ids == ids[0]).all(dim=0)
        if per_class:
            same &= ids[0] >= 0
        shared = min(int(same.int().cumprod(0).sum()), int(lengths.min()) - 1)
    # Layouts outlive the call that makes them, so they may not be inference tensors, which autograd refuses.
    with torch.inference_mode(False), torch.no_grad():
        device = family.text_positions.device
        prefix = _embed(family, ids[0, :shared], torch.arange(shared))[None]
        prefix_slots = (ids[0, :shared] < 0).nonzero().squeeze(1).to(device)
        parts = []
        for classes in _bounded((lengths - shared).tolist(), max_tokens):
            rest, sizes = ids[classes, shared:], lengths[classes] - shared
            real = torch.arange(rest.shape[1]) < sizes[:, None]
            flat, where = rest[real], (torch.arange(rest.shape[1]) + shared).expand_as(rest)[real]
            slots = (flat < 0).nonzero().squeeze(1).to(device)
            parts.append(Part(_embed(family, flat, where), Packing.of(sizes.tolist(), device), slots))
        return Layout(prefix, prefix_slots, tuple(parts))


def _embed(family: Family, ids: Tensor, positions: Tensor) -> Tensor:
    table = family.text_positions
    ids, positions = ids.to(table.device), positions.to(table.device)
    tokens = family.embed_tokens(ids.clamp(min=0)) * (ids >= 0).unsqueeze(-1)
    return tokens + table[positions]


def _bounded(sizes: Sequence[int], limit: int) -> Iterator[slice]:
    """Consecutive runs whose sizes add up to at most `limit` each, where single sizes allow."""
    start, total = 0, 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            yield slice(start, index)
            start, total = index, 0
        total += size
    yield slice(start, len(sizes))
