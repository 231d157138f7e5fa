"""Class names and learned context vectors, joined to sequences of tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from acclimate.counting import counted
from acclimate.errors import LONGEST_WORD, BackboneError, brief

ClassPosition = Literal["end", "middle", "front"]
ContextAxis = Literal["shared", "class", "image"]  # what the first axis of a context stands for; "shared" has none

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


def class_sequences(
    classes: ClassTokens, n: int, class_position: ClassPosition, lead: Sequence[int], limit: int
) -> list[list[int]]:
    """Join every class with n context vectors: C lists of token ids, in which -1 - i stands for context vector i.

    Args:
        classes: the classes.
        n: number of context vectors.
        class_position: "end" puts the class after the context, "middle" between its halves, "front" before it.
        lead: token ids that begin every sequence.
        limit: longest sequence allowed; longer class names lose their last tokens.

    Raises:
        BackboneError: no room for a class name, or an unknown class position.
    """
    context = [-1 - i for i in range(n)]
    cuts = {"end": n, "middle": n // 2, "front": 0}
    if class_position not in cuts:
        raise BackboneError(f"no class position {class_position!r}; choose end, middle or front")
    before, after = context[: cuts[class_position]], context[cuts[class_position] :]
    sequences, cut = [], []
    for words, name, tail in zip(classes.words, classes.names, classes.tails, strict=True):
        room = limit - len(lead) - n - len(tail)
        if room < 1:
            raise BackboneError(f"{n} context vectors leave no room for a class name in {limit} positions; use fewer")
        if len(name) > room:
            cut.append(words)
        sequences.append([*lead, *before, *name[:room], *after, *tail])
    if cut:
        count = counted(len(cut), "class name is", "class names are")
        log.warning("%s cut to fit %d positions, first: %r", count, limit, brief(cut[0], LONGEST_WORD))
    return sequences


def check_context(context: Tensor, prompts: Sequence[Tensor], per: ContextAxis, *, classes: int, width: int) -> None:
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
        if tuple(vectors.shape) != (plain if vectors.ndim == 2 else tuple(context.shape)):
            raise BackboneError(f"deep prompt {index} has shape {tuple(vectors.shape)}, not that of the context")


def broadcast_context(context: Tensor, per: ContextAxis) -> Tensor:
    """A context or deep prompt, (n, D) or with one leading axis, as (B or 1, C or 1, n, D)."""
    if context.ndim == 2:
        return context[None, None]
    return context[None] if per == "class" else context[:, None]
