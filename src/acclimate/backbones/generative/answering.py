"""Answers from a cached prefix: given ones scored, new ones written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from acclimate.backbones.generative.beams import search
from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.generative.running import Prefix, Tokens, continued, stepped

LOGITS = 2**25  # numbers that exist at once, 128 MB in float32


def score(family: VLMFamily, prefix: Prefix, answers: Sequence[Sequence[int]]) -> Tensor:
    """Log probability of each answer behind each branch of a prefix.

    All answers run at once as one row behind the prefix: each sees the prefix and itself, at the positions that it
    would have alone. So the prefix's keys and values are neither computed nor copied again.

    Args:
        family: the model.
        prefix: of B rows with W branches; its cache is as before when this returns.
        answers: A of them, each with its end token.

    Returns:
        (B, W, A) in float32, summed over the tokens of each answer.
    """
    first = torch.tensor([answer[0] for answer in answers], device=prefix.last.device)
    totals = family.logits(prefix.last).log_softmax(-1)[..., first]  # (B, W, A)
    for chosen in _chunks(family, prefix, answers):
        some = [answers[index] for index in chosen]
        hidden = _packed(family, prefix, some).flatten(0, 1)  # (B W, Q, D)
        owners = torch.tensor([i for i, answer in zip(chosen, some, strict=True) for _ in answer[1:]])
        targets = torch.tensor([token for answer in some for token in answer[1:]], device=hidden.device)
        rows = max(1, LOGITS // max(1, family.vocabulary * len(targets)))
        found = [
            family.logits(part).log_softmax(-1).gather(-1, targets.expand(len(part), -1)[..., None])[..., 0]
            for part in hidden.split(rows)
        ]
        totals.index_add_(2, owners.to(hidden.device), torch.cat(found).unflatten(0, totals.shape[:2]))
    return totals


def _chunks(family: VLMFamily, prefix: Prefix, answers: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of answers of more than one token that run together: their logits at one row fit into `LOGITS`."""
    most = max(1, LOGITS // family.vocabulary // prefix.branches)
    chunk: list[int] = []
    size = 0
    for index, answer in enumerate(answers):
        if len(answer) < 2:
            continue
        if chunk and size + len(answer) > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += len(answer)
    if chunk:
        yield chunk


def _packed(family: VLMFamily, prefix: Prefix, answers: Sequence[Sequence[int]]) -> Tensor:
    """Hidden states (B, W, Q, D) of all tokens of some answers but their last."""
    (count, width), device = prefix.position.shape, prefix.last.device
    ids = torch.tensor([token for answer in answers for token in answer[:-1]], device=device)
    steps = torch.cat([torch.arange(len(answer) - 1) for answer in answers]).to(device)
    owner = torch.tensor([i for i, answer in enumerate(answers) for _ in answer[:-1]], device=device)
    branch = torch.arange(width, device=device).repeat_interleave(len(ids))  # (W Q,)
    chain = branch * len(answers) + owner.repeat(width)
    rows = (ids.repeat(width), branch, chain, steps.repeat(width))
    hidden, _ = continued(family, prefix, Tokens(*(row.expand(count, -1) for row in rows)))
    prefix.cache.crop(-len(branch))
    return hidden.unflatten(1, (width, -1))


def generate(
    family: VLMFamily, prefix: Prefix, ends: Collection[int], max_new_tokens: int, beams: int = 1
) -> list[list[list[int]]]:
    """Most probable next tokens, one after the other, up to one that ends a response; or by a beam search.

    Args:
        family: the model.
        prefix: of B rows with W branches; its cache grows.
        ends: ids that end a response.
        max_new_tokens: most tokens of a response.
        beams: of the search; 1: none.

    Returns:
        The tokens of each branch of each row.
    """
    if beams > 1:
        return search(family, prefix, ends, max_new_tokens, beams)
    stop = torch.tensor(sorted(ends), device=prefix.last.device)
    over = torch.zeros(prefix.position.shape, dtype=torch.bool, device=stop.device)
    made: list[list[list[int]]] = [[[] for _ in row] for row in over]
    for step in range(max_new_tokens):
        chosen = family.logits(prefix.last).argmax(-1)  # (B, W)
        over = over | torch.isin(chosen, stop)
        for row, tokens, ended in zip(made, chosen.tolist(), over.tolist(), strict=True):
            for branch, token, done in zip(row, tokens, ended, strict=True):
                if not done:
                    branch.append(token)
        if bool(over.all()) or step == max_new_tokens - 1:
            break
        prefix = stepped(family, prefix, chosen)
    return made
