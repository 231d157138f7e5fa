"""Which conversations about one image run its prefix once, and which part of them that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.backbones.generative.conversation import EXEMPLAR, Conversation
from acclimate.backbones.generative.families.base import VLMFamily

PACKED = 1024  # most tokens of the continuations of a row: attention among them grows with the square


@dataclass(frozen=True)
class Group:
    """Conversations that run together.

    Attributes:
        rows: numbers of conversations; those of a row share what they begin with.
        openings: number of tokens that the conversations of each row share; 0 where there is only one.
    """

    rows: list[list[int]]
    openings: list[int]

    @property
    def places(self) -> list[tuple[int, int, int]]:
        """Row, branch and number of every conversation."""
        return [(row, branch, number) for row, some in enumerate(self.rows) for branch, number in enumerate(some)]


def plan(family: VLMFamily, prompts: Sequence[Conversation], shown: Sequence[int] | None) -> list[Group]:
    """Put conversations about one image into rows, and rows with about as many conversations into groups.

    A row has at most `PACKED` tokens behind what is shared. Conversations stay alone where their image does not stand
    before the first token that differs, or where the family's image sees what follows it.

    Args:
        family: the model.
        prompts: conversations without responses.
        shown: the number of the image of each; none: no two have the same.
    """
    same: dict[int, list[int]] = {}
    for number, image in enumerate(range(len(prompts)) if shown is None else shown):
        same.setdefault(image, []).append(number)
    groups: dict[int, Group] = {}
    for numbers in same.values():
        opening = _opening(family, [prompts[number] for number in numbers])
        for row in _pieces(prompts, numbers, opening):
            group = groups.setdefault((len(row) - 1).bit_length(), Group([], []))
            group.rows.append(row)
            group.openings.append(opening if len(row) > 1 else 0)
    return list(groups.values())


def _opening(family: VLMFamily, prompts: Sequence[Conversation]) -> int:
    """Number of tokens that prompts share, image included and at least one left of each; 0 where they cannot."""
    if len(prompts) == 1 or not family.shares_openings:
        return 0
    first, shortest = prompts[0].prompt, min(map(len, prompts)) - 1
    alike = torch.stack([one.prompt[:shortest] == first[:shortest] for one in prompts]).all(0)
    opening = int(alike.long().cumprod(0).sum())
    rests = [one.prompt[opening:] for one in prompts]
    return 0 if any(bool(((rest == family.image_id) | (rest == EXEMPLAR)).any()) for rest in rests) else opening


def _pieces(prompts: Sequence[Conversation], numbers: list[int], opening: int) -> list[list[int]]:
    """Rows of conversations that share so many tokens."""
    longest = max(len(prompts[number]) for number in numbers) - opening
    most = max(1, PACKED // longest) if opening else 1
    count = -(-len(numbers) // most)
    return [list(map(int, part)) for part in torch.tensor(numbers).tensor_split(count)]


def opening_of(prompt: Conversation, tokens: int) -> Conversation:
    """The first tokens of a prompt."""
    return Conversation(prompt.ids[:tokens], torch.zeros(tokens, dtype=torch.bool), prompt.grid)


def rest_of(prompt: Conversation, tokens: int) -> Tensor:
    """The ids behind them."""
    return prompt.ids[tokens:]
