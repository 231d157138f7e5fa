"""Attention that is looked at: the weights of every layer of an image encoder, with gradients, while they are recorded.

Fused attention keeps no weights. Inside `recording`, each pass of an image encoder computes them instead, in the towers
and in the models of transformers alike, and keeps them in a `Pass`; so does a language model that judges answers about
an image, in a `Reading`. Outside it, nothing is computed in another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from acclimate.backbones.dual_encoder import DualEncoder
    from acclimate.backbones.families import Family
    from acclimate.backbones.towers.changes import DeepPrompts
    from acclimate.data.transforms import ImageTransform

Readout = Literal["first", "head", "mean"]


class Seeing(Protocol):
    """What prepares images for itself."""

    @property
    def transform(self) -> ImageTransform:
        """Its preprocessing, which says what it sees of an image."""
        ...


@dataclass
class Pass:
    """What one pass of an image encoder has attended to.

    Attributes:
        encoder: whose pass it is.
        grid: rows and columns of patches.
        first: position of the first patch among the tokens; none: the patches are the last ones.
        readout: what the feature is read from: the "first" token, an attention "head" over all tokens, which is the
            last entry of `weights`, or the "mean" of the patches.
        layers: number of attentions that a complete pass has; 0 where no attention says what patches count for.
        overwritten: layers at whose input other vectors are written over some tokens, and the positions of these.
        weights: (B, heads, Q, L) of each attention, in their order; Q = 1 where only the pooled token asks.
    """

    encoder: Seeing
    grid: tuple[int, int]
    first: int | None
    readout: Readout
    layers: int
    overwritten: Mapping[int, Sequence[int]] = field(default_factory=dict)
    weights: list[Tensor] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the attention of every layer was seen."""
        return len(self.weights) == self.layers > 0


@dataclass
class Reading:
    """What a language model has attended to while it read a prompt with an image and judged answers to it.

    Attributes:
        encoder: whose reading it is.
        grid: rows and columns of the parts of the image that vectors stand for, in the order of reading.
        image: where in the prompt they are.
        layers: of the language model.
        weights: (1, heads, L, L) of each layer on the prompt; then (1, heads, Q, L + Q) of each layer on Q tokens of
            answers, which see the prompt, as often as answers were run.
    """

    encoder: Seeing
    grid: tuple[int, int]
    image: Tensor
    layers: int
    weights: list[Tensor] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the attention of every layer was seen, on the prompt and on all answers."""
        sizes = [one.shape[3] - one.shape[2] for one in self.weights]  # of what was read before
        first, rest = sizes[: self.layers], sizes[self.layers :]
        alike = len(first) == self.layers > 0 and len(rest) % self.layers == 0
        return alike and not any(first) and all(size == self.weights[0].shape[3] for size in rest)


_RECORD: ContextVar[list[Pass | Reading] | None] = ContextVar("record", default=None)


@contextmanager
def recording() -> Iterator[list[Pass | Reading]]:
    """Record passes of image encoders and readings of language models, in this thread alone.

    Gradients flow through frozen encoders meanwhile.
    """
    record: list[Pass | Reading] = []
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


def frozen() -> AbstractContextManager[Any]:
    """Return what stands around the work of a frozen encoder: no gradients, unless passes are recorded."""
    return torch.no_grad() if _RECORD.get() is None else torch.enable_grad()


@contextmanager
def watched(
    encoder: Seeing,
    grid: tuple[int, int],
    first: int | None,
    readout: Readout,
    layers: int,
    overwritten: Mapping[int, Sequence[int]] | None = None,
) -> Iterator[None]:
    """Stand around the layers of an image encoder, which are recorded if anybody looks; arguments as in `Pass`."""
    record = _RECORD.get()
    if record is None:
        yield
        return
    seen = Pass(encoder, grid, first, readout, layers, overwritten or {})
    record.append(seen)
    with torch.enable_grad(), _Watch(seen.weights):
        yield


def watched_tower(
    encoder: DualEncoder, family: Family, added: range, deep: DeepPrompts | None
) -> AbstractContextManager[None]:
    """Return what stands around the layers of an image tower, see `watched`.

    Args:
        encoder: whose tower it is.
        family: its weights.
        added: positions of the prompts, which follow the patches.
        deep: what is written over them in later layers, or none.
    """
    written = deep.vectors if deep else ()
    fresh = {layer: added for layer, vectors in enumerate(written) if vectors is not None}
    rows, columns = family.patch_grid
    readout: Readout = "first" if family.vision_pool == 0 else "head"
    layers = len(family.vision.blocks) + (readout == "head")
    return watched(encoder, (rows, columns), added.start - rows * columns, readout, layers, fresh)


@contextmanager
def watched_reading(encoder: Seeing, grid: tuple[int, int], image: Tensor, layers: int) -> Iterator[None]:
    """Stand around a language model that reads a prompt and answers; arguments as in `Reading`."""
    record = _RECORD.get()
    if record is None:
        yield
        return
    seen = Reading(encoder, grid, image, layers)
    record.append(seen)
    with _Watch(seen.weights):
        yield


class _Watch(TorchFunctionMode):
    """Computes attention that torch would fuse from its weights, and keeps these.

    Args:
        weights: where to.
    """

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch, or attend in its place."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is F.multi_head_attention_forward and kwargs.get("attn_mask") is None:
            return self._pool(*args), None
        return func(*args, **kwargs)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return attention (B, heads, Q, d) as `scaled_dot_product_attention` defines it; nothing is dropped."""
        if enable_gqa:
            shared = query.shape[1] // key.shape[1]
            key, value = (one.repeat_interleave(shared, dim=1) for one in (key, value))
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            scores = scores + torch.full_like(scores, -math.inf).triu(1)
        if attn_mask is not None:
            bias = torch.zeros_like(scores)
            scores = scores + (bias.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else attn_mask)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(scores.dtype)
        if not weights.requires_grad:
            weights.requires_grad_()
        self.weights.append(weights)
        return weights @ value

    def _pool(self, query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *parts: Any) -> Tensor:
        """Return what `torch.nn.MultiheadAttention` (Q, B, D) does, of one with a common matrix for q, k and v."""
        matrix, bias, out, out_bias = parts[0], parts[1], parts[-2], parts[-1]
        made = zip((query, key, value), matrix.chunk(3), bias.chunk(3), strict=True)
        q, k, v = (F.linear(x, w, b).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3) for x, w, b in made)
        return F.linear(self._attend(q, k, v).permute(2, 0, 1, 3).flatten(2), out, out_bias)
