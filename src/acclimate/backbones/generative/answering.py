"""Answers from a cached prefix: given ones scored, new ones written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor

from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.generative.running import Prefix, continued

LOGITS = 2**25  # numbers that exist at once, 128 MB in float32


def score(family: VLMFamily, prefix: Prefix, answers: Sequence[Sequence[int]]) -> Tensor:
    """Log probability of each answer behind each prefix.

    All answers run at once as one row behind the prefix: each sees the prefix and itself, at the positions that it
    would have alone. So the prefix's keys and values are neither computed nor copied again.

    Args:
        family: the model.
        prefix: of B prompts; its cache is as before when this returns.
        answers: A of them, each with its end token.

    Returns:
        (B, A) in float32, summed over the tokens of each answer.
    """
    first = torch.tensor([answer[0] for answer in answers], device=prefix.last.device)
    totals = family.logits(prefix.last).log_softmax(-1)[:, first]  # (B, A)
    for chosen in _chunks(family, prefix, answers):
        some = [answers[index] for index in chosen]
        hidden = _packed(family, prefix, some)  # (B, Q, D)
        owners = torch.tensor([i for i, answer in zip(chosen, some, strict=True) for _ in answer[1:]])
        targets = torch.tensor([token for answer in some for token in answer[1:]], device=hidden.device)
        rows = max(1, LOGITS // max(1, family.vocabulary * len(targets)))
        found = [
            family.logits(part).log_softmax(-1).gather(-1, targets.expand(len(part), -1)[..., None])[..., 0]
            for part in hidden.split(rows)
        ]
        totals.index_add_(1, owners.to(hidden.device), torch.cat(found))
    return totals


def _chunks(family: VLMFamily, prefix: Prefix, answers: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Indices of answers of more than one token that run together.

    Their logits at one prompt fit into `LOGITS`. Where layers see few tokens back, a packed row would have to know how
    few for each answer; where that matters, answers run one by one.
    """
    length = prefix.mask.shape[1] + max(map(len, answers))
    alone = family.sliding_window is not None and length > family.sliding_window
    most = 0 if alone else max(1, LOGITS // family.vocabulary)
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
    """Hidden states (B, Q, D) of all tokens of some answers but their last."""
    count, device = len(prefix.last), prefix.last.device
    ids = torch.tensor([token for answer in answers for token in answer[:-1]], device=device)
    steps = torch.cat([torch.arange(len(answer) - 1) for answer in answers]).to(device)
    if len(answers) == 1:
        mask = torch.cat([prefix.mask, prefix.mask.new_ones(count, len(ids))], dim=1)
    else:
        owner = torch.tensor([i for i, answer in enumerate(answers) for _ in answer[:-1]], device=device)
        within = (owner[:, None] == owner) & (steps[:, None] >= steps)  # (Q, Q)
        seen = prefix.mask[:, None, None].expand(-1, 1, len(ids), -1)
        mask = torch.cat([seen, within.expand(count, 1, -1, -1)], dim=-1)
    hidden = continued(family, prefix, ids.expand(count, -1), mask, steps)
    prefix.cache.crop(-len(ids))
    return hidden


def generate(family: VLMFamily, prefix: Prefix, ends: Collection[int], max_new_tokens: int) -> list[list[int]]:
    """Most probable next tokens, one after the other, up to one that ends a response.

    Args:
        family: the model.
        prefix: of B prompts; its cache grows.
        ends: ids that end a response.
        max_new_tokens: most tokens of a response.
    """
    made: list[list[int]] = [[] for _ in prefix.last]
    over = torch.zeros(len(made), dtype=torch.bool, device=prefix.last.device)
    stop = torch.tensor(sorted(ends), device=over.device)
    hidden, mask = prefix.last, prefix.mask
    for step in range(max_new_tokens):
        chosen = family.logits(hidden).argmax(-1)  # (B,)
        over = over | torch.isin(chosen, stop)
        for row, token, ended in zip(made, chosen.tolist(), over.tolist(), strict=True):
            if not ended:
                row.append(token)
        if bool(over.all()) or step == max_new_tokens - 1:
            break
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        steps = torch.tensor([step], device=mask.device)
        hidden = continued(family, prefix, chosen[:, None], mask, steps)[:, -1]
    return made
