"""Frozen encoders at work beside everything else: pieces of batches, each on a thread and a core of its own.

Where several threads share out one matrix product, they wait for each other after each of them, and all wait where the
machine takes a core away from one. Pieces of batches wait for nobody. Their bits do not depend on how many of them run
side by side, see `acclimate.training.steady`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import torch

from acclimate.training.steady import piece_size

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """Threads that work on pieces: on the CPU as many as torch may use, with one core each; else one.

    It is a context; what is waiting when it is left is never begun.

    Args:
        device: where the encoders compute.

    Attributes:
        count: number of threads.
        piece: images in a piece, at most.
    """

    def __init__(self, device: torch.device) -> None:
        threads, on_cpu = torch.get_num_threads(), device.type == "cpu"
        self.count, self.piece = threads if on_cpu else 1, piece_size(device)
        self._pool = ThreadPoolExecutor(self.count, "lane", _stay_alone if on_cpu else None)
        everybody = threading.Barrier(self.count + 1)
        for _ in range(self.count):
            self._pool.submit(everybody.wait)
        everybody.wait()
        torch.set_num_threads(threads)  # a number is set for its thread, and for all threads that begin later

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish the pieces that are at work, and forget the others."""
        self._pool.shutdown(cancel_futures=True)

    def submit(self, work: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> Future[T]:
        """Begin work on a piece when its turn comes, in the order of the calls."""
        return self._pool.submit(work, *args, **named)

    def batches(self, size: int) -> int:
        """Return how many batches of a size must be under way for no thread to be idle: two or more."""
        return 1 + -(-self.count * self.piece // size)


def _stay_alone() -> None:
    """Let this thread compute on one core, whatever is set for others later."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # from here on the thread has a number of its own; before, it would take that of others
