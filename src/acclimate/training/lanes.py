"""Frozen encoders at work beside everything else: pieces of batches, each on a thread and a core of its own.

Where several threads share out one matrix product, they wait for each other after each of them, and all wait where the
machine takes a core away from one. Pieces of batches wait for nobody. Their bits do not depend on how many of them run
side by side, see `acclimate.training.steady`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import torch

from acclimate.backbones.kinds import GENERATIVE
from acclimate.training.steady import piece_size

if TYPE_CHECKING:
    from acclimate.backbones import Encoder

P = ParamSpec("P")
T = TypeVar("T")


class Lanes:
    """Threads that work on pieces: on the CPU as many as torch may use, with one core each; else one.

    It is a context; what is waiting when it is left is never begun.

    Args:
        device: where the encoders compute.
        count: number of threads, which share out the cores; none: as many as there are.

    Attributes:
        count: number of threads.
        piece: images in a piece, at most.
    """

    def __init__(self, device: torch.device, count: int | None = None) -> None:
        threads = torch.get_num_threads()
        self.count, self.piece = count or (threads if device.type == "cpu" else 1), piece_size(device)
        self._pool = ThreadPoolExecutor(self.count, "lane", _keep_to, (max(1, threads // self.count),))
        everybody = threading.Barrier(self.count + 1)
        for _ in range(self.count):
            self._pool.submit(everybody.wait)
        everybody.wait()
        torch.set_num_threads(threads)  # a number is set for its thread, and for all threads that begin later

    @classmethod
    def of(cls, encoder: Encoder) -> Lanes:
        """Return those of an encoder, or a backbone; a generative model looks at one batch at a time, so it has one."""
        return cls(encoder.device, 1 if getattr(encoder, "kind", "") == GENERATIVE else None)

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


def _keep_to(cores: int) -> None:
    """Let this thread compute on so many cores, whatever is set for others later."""
    torch.set_num_threads(cores)
    torch.get_num_threads()  # from here on the thread has a number of its own; before, it would take that of others
