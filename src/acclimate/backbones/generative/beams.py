"""Beam search behind a cached prefix: the beams of an answer are branches of its row, so no keys are copied for them.

What is found is what transformers' `generate` finds with `num_beams`, a length penalty of 1 and no early stopping.
Composed models have no `generate`, and theirs would run, and keep, the prefix once for every beam.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.backbones.generative.families.base import VLMFamily
from acclimate.backbones.generative.running import Prefix, stepped

NEVER = -1e9  # the score of what cannot be


@dataclass
class Beams:
    """Answers, and their scores (B, W, K); the best one comes first.

    Attributes:
        tokens: (B, W, K, T) ids.
        scores: log probabilities, of ended answers divided by their length.
    """

    tokens: Tensor
    scores: Tensor

    def best(self, count: int) -> tuple[Beams, Tensor]:
        """Return the best of them, and which these are (B, W, count)."""
        scores, which = self.scores.topk(count)
        return Beams(self.tokens.gather(2, which[..., None].expand(-1, -1, -1, self.tokens.shape[-1])), scores), which


def search(
    family: VLMFamily, prefix: Prefix, ends: Collection[int], max_new_tokens: int, beams: int
) -> list[list[list[int]]]:
    """Of the responses that a search with so many beams ends, those of the highest mean log probability a token.

    A search is over when its best beam, at the length that it has, is no better than the worst of as many ended
    answers as there are beams.

    Args:
        family: the model.
        prefix: of B rows with W branches; its cache grows.
        ends: ids that end a response.
        max_new_tokens: most tokens of a response.
        beams: K, at least 1.

    Returns:
        The tokens of each branch of each row, without the one that ends them.
    """
    (count, width), device = prefix.position.shape, prefix.last.device
    stop = torch.tensor(sorted(ends), device=device)
    first = torch.arange(width, device=device).repeat_interleave(beams)  # branches of branches
    prefix = prefix.take(first.expand(count, -1))
    shape = (count, width, beams)
    running = Beams(torch.zeros(*shape, 0, dtype=torch.long, device=device), torch.full(shape, NEVER, device=device))
    running.scores[..., 0] = 0.0  # all beams are alike as yet
    ended = Beams(torch.zeros(*shape, max_new_tokens, dtype=torch.long, device=device), running.scores * 0 + NEVER)
    open_ = torch.ones(count, width, 1, dtype=torch.bool, device=device)
    for length in range(1, max_new_tokens + 1):
        found, source = _continuations(family.logits(prefix.last), running, max(2, 1 + len(stop)) * beams)
        over = torch.isin(found.tokens[..., -1], stop) | (length == max_new_tokens)
        running, which = Beams(found.tokens, found.scores + over * NEVER).best(beams)
        ended = _with_ended(ended, found, over & open_, beams)
        worst = ended.scores.amin(-1, keepdim=True)
        open_ = open_ & (running.scores[..., :1] / length > torch.where(ended.scores > NEVER / 2, worst, NEVER)).any(
            -1, keepdim=True
        )
        if bool(over.all()) or not bool(open_.any()):
            break
        index = first.view(width, beams)[:, :1] * beams + source.gather(-1, which)  # (B, W, K)
        prefix = stepped(family, prefix.take(index.flatten(1)), running.tokens[..., -1].flatten(1))
    return [[_until(tokens, set(ends)) for tokens in row] for row in ended.tokens[:, :, 0].tolist()]


def _continuations(logits: Tensor, running: Beams, count: int) -> tuple[Beams, Tensor]:
    """Most probable continuations by one token of all beams of an answer, and which beam each continues."""
    scores = logits.log_softmax(-1).unflatten(1, running.scores.shape[1:]) + running.scores[..., None]
    best, place = scores.flatten(2).topk(count)
    source, token = place // logits.shape[-1], place % logits.shape[-1]
    before = running.tokens.gather(2, source[..., None].expand(-1, -1, -1, running.tokens.shape[-1]))
    return Beams(torch.cat([before, token[..., None]], dim=-1), best), source


def _with_ended(ended: Beams, found: Beams, over: Tensor, beams: int) -> Beams:
    """The best of ended answers when some of the first `beams` continuations have ended, too."""
    length, longest = found.tokens.shape[-1], ended.tokens.shape[-1]
    new = found.tokens[:, :, :beams]
    last = new[..., -1:].expand(-1, -1, -1, longest - length)  # the end again and again
    scores = (found.scores[..., :beams] / length).masked_fill(~over[..., :beams], NEVER)
    tokens = torch.cat([ended.tokens, torch.cat([new, last], dim=-1)], dim=2)
    return Beams(tokens, torch.cat([ended.scores, scores], dim=-1)).best(beams)[0]


def _until(tokens: list[int], ends: set[int]) -> list[int]:
    """The tokens before the first one that ends a response."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in ends), len(tokens))]
