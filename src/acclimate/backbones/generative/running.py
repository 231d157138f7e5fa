"""Passes through the language model: image and exemplars enter by an embedding hook, answers continue from a cache.

The model sees ids throughout, so its own code decides about positions and masks. Where an id is a placeholder, a hook
on the embedding puts a vector in place of what the table holds there (out of place, so gradients reach the vectors).
"""

from __future__ import annotations

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

    Attributes:
        cache: keys and values of all layers.
        mask: (B, P) true where there is a token.
        position: (B,) of the next token.
        last: (B, D) final hidden state at the last token.
    """

    cache: Any
    mask: Tensor
    position: Tensor
    last: Tensor


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
    family: VLMFamily, batch: Batch, image: Tensor, exemplars: Tensor | None, grids: Sequence[Grid | None], cache: Any
) -> tuple[Tensor, Tensor]:
    """Run whole conversations.

    Args:
        family: the model.
        batch: of conversations.
        image: (rows, D'), vectors of all placeholders in order.
        exemplars: (B, K, D).
        grids: of each image.
        cache: to fill; None: keep nothing.

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
    with placed(family.embedding, places), added(family.language, more):
        hidden = family.inner(
            input_ids=plain,
            attention_mask=batch.mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            **family.prefill(batch.ids, batch.mask, batch.response),
        ).last_hidden_state
    largest = positions.amax(0) if positions.ndim == 3 else positions
    return hidden, largest.amax(1) + 1


def continued(family: VLMFamily, prefix: Prefix, ids: Tensor, mask: Tensor, steps: Tensor) -> Tensor:
    """Run tokens behind a prefix; its cache grows by them.

    Args:
        family: the model.
        prefix: from `forward`.
        ids: (B, Q).
        mask: (B, P + Q) true where there is a token; or (B, 1, Q, P + Q) true where a token (third axis) sees another.
        steps: (Q,) or (B, Q), how far behind the prefix each token stands.

    Returns:
        Final hidden states (B, Q, D).
    """
    positions = prefix.position[:, None] + steps
    if family.axes > 1:
        positions = positions.expand(family.axes, -1, -1)
    if mask.ndim == 4:
        kind = prefix.last.dtype
        mask = torch.zeros(mask.shape, dtype=kind, device=mask.device).masked_fill(~mask, torch.finfo(kind).min)
    else:
        mask = mask.long()
    return family.inner(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=prefix.cache, use_cache=True
    ).last_hidden_state


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
