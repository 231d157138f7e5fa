"""How much each patch of an image counts for a class: relevance, carried through attention.

Chefer, Gur, Wolf: Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers
(ICCV 2021, arXiv 2103.15679), section 3: with A the weights of a layer and G the gradient of what is explained with
respect to them,

    R <- I;    R <- R + mean over heads of (G * A)+  R    for every layer (equations 5 and 6).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.backbones.recording import Pass


def patch_relevance(seen: Pass, gradients: Sequence[Tensor]) -> Tensor:
    """Return the relevance of each patch (B, rows, columns), 0 or more, with which a pass has made its feature.

    Tokens that are no patches (the class token, registers, prompts) pass relevance on and are left out at the end.
    Where a layer writes prompts over others, what these had gathered is lost, and their rows of R begin anew. A head
    that pools is one more token, that has gathered nothing before. Where the feature is the mean of the patches, it is
    the mean of their rows, without what a patch is to itself, which is the same for all.

    Args:
        seen: a complete pass.
        gradients: (B, heads, Q, L) of what is explained with respect to its `weights`.
    """
    size, last = seen.weights[0].shape[-1], len(seen.weights) - 1
    own = torch.eye(size, device=seen.weights[0].device).expand(len(seen.weights[0]), size, size)
    gathered, asks = own, own[:, :0]
    for layer, (weights, gradient) in enumerate(zip(seen.weights, gradients, strict=True)):
        if positions := list(seen.overwritten.get(layer, ())):
            gathered = gathered.index_copy(1, torch.tensor(positions, device=own.device), own[:, positions])
        through = (gradient.float() * weights.detach().float()).clamp(min=0).mean(dim=1) @ gathered  # (B, Q, L)
        if layer == last and (seen.readout == "head" or through.shape[1] < size):
            asks = through if seen.readout == "head" else gathered[:, :1] + through
        else:
            gathered = gathered + through
    rows, columns = seen.grid
    first = size - rows * columns if seen.first is None else seen.first
    patches = slice(first, first + rows * columns)
    if seen.readout == "mean":
        asks = (gathered - own)[:, patches].mean(dim=1, keepdim=True)
    elif not asks.shape[1]:
        asks = gathered[:, :1]
    return asks[:, 0, patches].unflatten(-1, seen.grid)
