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

from acclimate.backbones.recording import Pass, Reading


def relevance(seen: Pass | Reading, gradients: Sequence[Tensor]) -> Tensor:
    """Return the relevance (rows, columns), 0 or more, of each part of the image of a complete pass or reading.

    Args:
        seen: of one image.
        gradients: of what is explained with respect to its `weights`.
    """
    return token_relevance(seen, gradients) if isinstance(seen, Reading) else patch_relevance(seen, gradients)[0]


def token_relevance(seen: Reading, gradients: Sequence[Tensor]) -> Tensor:
    """Return the relevance (rows, columns), 0 or more, of each vector of an image for what was judged about it.

    With R of the tokens of the prompt as above, and S (Q, L), nothing at first, of Q tokens of answers, whose weights
    are [A_p, A_a] on the prompt and on themselves:

        S <- S + mean over heads of (G_p * A_p)+ R + mean over heads of (G_a * A_a)+ S    for every layer,

    with the R of that layer. What is judged is read from the last token of the prompt and from those of the answers:
    the relevance is the sum of their rows. A row counts as much as the gradient that it has. What the image tower makes
    of patches before they are vectors of the language model is left out.

    Args:
        seen: a complete reading.
        gradients: as its `weights`.
    """
    through = [
        (gradient.float() * weights.detach().float()).clamp(min=0).mean(dim=1)[0]
        for weights, gradient in zip(seen.weights, gradients, strict=True)
    ]
    prompt, answers = through[: seen.layers], through[seen.layers :]
    size = seen.weights[0].shape[3]
    gathered = [torch.eye(size, device=prompt[0].device)]
    for layer in prompt:
        gathered.append(gathered[-1] + layer @ gathered[-1])
    asks = gathered[-1][-1]
    for start in range(0, len(answers), seen.layers):
        own = torch.zeros(len(answers[start]), size, device=asks.device)
        for layer, state in zip(answers[start : start + seen.layers], gathered, strict=False):
            own = own + layer[:, :size] @ state + layer[:, size:] @ own
        asks = asks + own.sum(dim=0)
    return asks[seen.image].unflatten(0, seen.grid)


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
