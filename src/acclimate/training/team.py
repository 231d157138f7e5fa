"""The processes that train together, as `accelerate launch` or `torchrun` start them; usually there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from acclimate.errors import ConfigError
from acclimate.training.stages import SolverStage, Stage

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Team:
    """Processes that carry out one run: each computes its share of every batch, and the first of them writes.

    Attributes:
        rank: number of this process, from 0.
        size: number of all.
        device: where what they send each other lies.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | str = "cpu"

    @classmethod
    def of(cls, accelerator: Accelerator) -> Team:
        """Return the processes that an accelerator has found."""
        return cls(accelerator.process_index, accelerator.num_processes, accelerator.device)

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def seed(self) -> tuple[int, ...]:
        """What the seeds of this process have beside those of the first: dropout differs between the shares."""
        return () if self.first else (self.rank,)

    def check(self, stages: Sequence[Stage]) -> None:
        """Refuse stages whose batches several processes cannot share.

        Raises:
            ConfigError: there is one.
        """
        for stage in stages:
            if self.size > 1 and not isinstance(stage, SolverStage) and not stage.divisible:
                raise ConfigError(
                    f"the stage '{stage.name}' learns from the images of a batch together, or with random numbers for "
                    f"all of them, so {self.size} processes cannot share its batches; start it as one process"
                )

    def wait(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            distributed.barrier()

    @contextmanager
    def first_first(self) -> Iterator[None]:
        """Let the first process do something, and then the others, who find what it has left."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def agree(self, value: Any) -> Any:
        """Return what the first process has found."""
        if self.size == 1:
            return value
        told = [value]
        distributed.broadcast_object_list(told, device=torch.device(self.device))
        return told[0]

    def share(self, index: Tensor) -> Tensor:
        """Return which images of a batch this process sees; the shares differ by one image at most."""
        return index.tensor_split(self.size)[self.rank]

    def weigh(self, terms: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Return terms whose sums over the processes are those of the whole batch.

        Args:
            terms: of this process, each a mean over some of its images.
            counts: of how many.
        """
        if self.size == 1:
            return dict(terms)
        totals: dict[str, int] = {}
        for told in self._gather(dict(counts)):
            for name, count in told.items():
                totals[name] = totals.get(name, 0) + count
        return {name: term * (counts[name] / max(totals[name], 1)) for name, term in terms.items()}

    def add_up(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of each term over the processes, of which each knows its own terms alone."""
        if self.size == 1:
            return dict(terms)
        sums: dict[str, float] = {}
        for told in self._gather({name: float(term.detach()) for name, term in terms.items()}):
            for name, value in told.items():
                sums[name] = sums.get(name, 0.0) + value
        return {name: torch.tensor(value, device=self.device) for name, value in sums.items()}

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up the gradients of all processes; a parameter that has none in any of them stays without."""
        if self.size == 1:
            return
        has = torch.tensor([float(one.grad is not None) for one in parameters], device=self.device)
        own = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        flat = torch.cat([has, *(gradient.detach().flatten().float() for gradient in own)])
        distributed.all_reduce(flat)
        counts, *sums = flat.split([len(has), *(one.numel() for one in parameters)])
        for one, count, gradient in zip(parameters, counts.tolist(), sums, strict=True):
            one.grad = gradient.view_as(one).to(one.dtype) if count else None

    def share_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of the first process, which has as many of the same shapes."""
        if self.size == 1:
            return dict(state)
        found = {}
        for name in sorted(state):
            sent = state[name].detach().to(self.device).contiguous().clone()
            distributed.broadcast(sent, 0)
            found[name] = sent.to(state[name].device)
        return found

    def _gather(self, value: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found


ALONE = Team()
