"""Sequences of different lengths in one flat list of tokens, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where the tokens of N sequences, laid end to end, lie in the padded N x L grid that attention works on.

    Norms and linear layers, nearly all of a tower's work, see only real tokens. Attention alone needs the grid.

    Attributes:
        count: N, the number of sequences.
        length: L, the length of the longest.
        grid_indices: (T,) n * L + position of every token; None when all sequences have length L.
        end_rows: (N,) row of the last token of every sequence in the flat list.
        end_positions: (N,) position of that token in its sequence.
    """

    count: int
    length: int
    grid_indices: Tensor | None
    end_rows: Tensor
    end_positions: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> Packing:
        """Pack sequences of these lengths (each at least 1)."""
        sizes = torch.as_tensor(lengths, dtype=torch.long)
        longest = int(sizes.max())
        indices = None
        if int(sizes.min()) < longest:
            indices = (torch.arange(longest)[None] < sizes[:, None]).flatten().nonzero().squeeze(1).to(device)
        return cls(len(sizes), longest, indices, (sizes.cumsum(0) - 1).to(device), (sizes - 1).to(device))

    @classmethod
    def even(cls, count: int, length: int, device: torch.device | str = "cpu") -> Packing:
        """Sequences of one length."""
        end_rows = torch.arange(1, count + 1, device=device) * length - 1
        return cls(count, length, None, end_rows, torch.full((count,), length - 1, device=device))

    @property
    def start_rows(self) -> Tensor:
        """(N,) row of the first token of every sequence in the flat list."""
        return self.end_rows - self.end_positions

    @property
    def token_count(self) -> int:
        """T, the number of real tokens."""
        return self.count * self.length if self.grid_indices is None else len(self.grid_indices)

    def repeat(self, times: int) -> Packing:
        """The same sequences laid end to end `times` times."""
        if times == 1:
            return self
        copies = torch.arange(times, device=self.end_rows.device)[:, None]
        indices = self.grid_indices
        if indices is not None:
            indices = (copies * (self.count * self.length) + indices).flatten()
        end_rows = (copies * self.token_count + self.end_rows).flatten()
        return Packing(self.count * times, self.length, indices, end_rows, self.end_positions.repeat(times))

    def pad(self, x: Tensor, heads: int) -> Tensor:
        """Flat (T, heads * d) to the grid, heads first: (heads, N * L, d), zeros where there is no token."""
        x = x.view(x.shape[0], heads, -1).transpose(0, 1)
        if self.grid_indices is None:
            return x.contiguous()
        return x.new_zeros(heads, self.count * self.length, x.shape[-1]).index_copy_(1, self.grid_indices, x)

    def unpad(self, x: Tensor) -> Tensor:
        """The grid, heads first, (heads, N * L, d) back to flat (T, heads * d)."""
        if self.grid_indices is not None:
            x = x.index_select(1, self.grid_indices)
        return x.transpose(0, 1).reshape(x.shape[1], -1)
