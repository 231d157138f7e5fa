"""Checkpoints of a fit: learned tensors and optimiser state in one safetensors file, replaced atomically."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from acclimate.errors import RunError
from acclimate.files import replace_file


@dataclass
class Position:
    """Where a fit stands.

    Attributes:
        stage: index of the stage in progress.
        epoch: epochs completed in it.
        step: steps completed in the epoch in progress.
        sums: sums of the loss terms over those steps, for the log.
        best: best validation accuracy so far, for `select=best-val`.
        best_epoch: its epoch.
        journal: size of the log in bytes.
        seconds: time spent so far over all attempts.
        scale: loss scale of fp16.
    """

    stage: int = 0
    epoch: int = 0
    step: int = 0
    sums: dict[str, float] | None = None
    best: float | None = None
    best_epoch: int | None = None
    journal: int = 0
    seconds: float = 0.0
    scale: float | None = None


@dataclass
class Checkpoint:
    """A position together with the tensors that belong to it."""

    position: Position
    learned: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    best: dict[str, Tensor]
    average: dict[str, Tensor]


GROUPS = ("learned", "optimizer", "best", "average")


def save_tensors(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically.

    Raises:
        RunError: when it cannot be written.
    """
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_file(path, save(content, metadata))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file: its tensors and its metadata.

    Raises:
        RunError: when the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot read {path}: {error}; restore the file, or adapt again into a new folder") from None


class CheckpointFile:
    """The checkpoint of one run, if it is kept at all.

    Args:
        path: file, or none to keep no checkpoint.
        identity: text that names the run's data, method, backbone and settings; a checkpoint of another is refused.
    """

    def __init__(self, path: Path | None, identity: str = "") -> None:
        self.path, self.identity = path, identity

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self.path is not None and self.path.exists()

    def load(self) -> Checkpoint | None:
        """Return the checkpoint, or none when there is none yet.

        Raises:
            RunError: when the file belongs to another run or is damaged.
        """
        if self.path is None or not self.path.exists():
            return None
        tensors, metadata = read_tensors(self.path)
        if metadata.get("identity") != self.identity:
            raise RunError(f"{self.path} is a checkpoint of another run; choose another `out`, or delete the file")
        groups: dict[str, dict[str, Tensor]] = {group: {} for group in GROUPS}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        return Checkpoint(Position(**json.loads(metadata["position"])), **groups)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint."""
        if self.path is None:
            return
        tensors = {f"{group}/{name}": tensor for group in GROUPS for name, tensor in getattr(checkpoint, group).items()}
        position = json.dumps(asdict(checkpoint.position))
        save_tensors(tensors, self.path, {"identity": self.identity, "position": position})

    def delete(self) -> None:
        """Remove the checkpoint of a finished run."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def optimizer_tensors(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Flatten the state of optimisers (momentum buffers, moments, step counts) into tensors by parameter number."""
    return {
        f"{first + index}/{key}": value if isinstance(value, Tensor) else torch.tensor(value)
        for first, optimizer in zip(_starts(optimizers), optimizers, strict=True)
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if value is not None
    }


def restore_optimizers(optimizers: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put the tensors of `optimizer_tensors` back."""
    starts = _starts(optimizers)
    states: list[dict[int, dict[str, Any]]] = [{} for _ in optimizers]
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        owner = bisect_right(starts, int(index)) - 1
        states[owner].setdefault(int(index) - starts[owner], {})[key] = tensor
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _starts(optimizers: Sequence[torch.optim.Optimizer]) -> list[int]:
    """Return the number that the first parameter of each has, counted through all of them."""
    counts = [sum(len(group["params"]) for group in optimizer.param_groups) for optimizer in optimizers]
    return [0, *accumulate(counts[:-1])] if counts else []
