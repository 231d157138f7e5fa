"""Steps: so many things at once as memory allows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def steps(count: int, most: int) -> Iterator[slice]:
    """Yield consecutive slices that cover `count` things, with at most `most` in each.

    Where a graph of any number of things is traced, as for an export, it is one slice: the number of steps would become
    a part of the graph, and with it the number of things.

    Args:
        count: 0 or more; a symbol where a graph is traced.
        most: 1 or more.
    """
    if torch.compiler.is_compiling():
        yield slice(0, count)
        return
    for start in range(0, count, most):
        yield slice(start, min(start + most, count))


def split(things: Tensor, most: int) -> Iterator[Tensor]:
    """Yield a tensor (N, ...) in parts of at most `most` of its N entries, see `steps`."""
    return (things[few] for few in steps(things.shape[0], most))
