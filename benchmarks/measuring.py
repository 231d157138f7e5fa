"""What the benchmarks share: ways in turns, memory of one call in a fresh process, the record beside a figure."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

import acclimate
from acclimate.methods.contract import Method

if TYPE_CHECKING:
    from acclimate.backbones import DualEncoder
    from acclimate.data import ImageData
    from acclimate.runs import AdaptedModel


class StepCase(ABC):
    """A batch, and several ways to make the same training step or the same prediction of it."""

    labels: Tensor
    lr = 3.5e-3
    batches = 1  # in a prediction

    @abstractmethod
    def make(self) -> Method:
        """Return a method bound to its classes, with equal weights at every call."""

    @abstractmethod
    def logits(self, way: str, method: Method) -> Tensor:
        """Return the logits (B, C) of the batch."""

    def trainer(self, way: str) -> Callable[[], float]:
        """Return a function that makes one step of SGD on a method of its own and returns the loss."""
        method = self.make().train()
        optimizer = torch.optim.SGD(method.parameters(), lr=self.lr, momentum=0.9, weight_decay=5e-4)
        seeds = itertools.count()

        def step() -> float:
            torch.manual_seed(next(seeds))  # noise, where a method draws any, is the same in all ways
            loss = F.cross_entropy(self.logits(way, method), self.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def predictor(self, way: str) -> Callable[[], Tensor]:
        """Return a function that predicts the batch, `batches` times, and returns the logits."""
        method = self.make()

        @torch.no_grad()
        def predict() -> Tensor:
            torch.manual_seed(0)
            method.eval()  # drops what an earlier call kept
            return [self.logits(way, method) for _ in range(self.batches)][-1]

        return predict


def in_turns(
    calls: Mapping[str, Callable[[], Any]], turns: int, tolerance: float
) -> tuple[dict[str, float], dict[str, list[Any]], float]:
    """Make the same calls in several ways, one after another, turn by turn.

    Args:
        calls: by way; the first is the reference.
        turns: how often.
        tolerance: of the results of the other ways, relative to the largest entry of the reference's.

    Returns:
        Median CPU seconds, results turn by turn, and the largest relative difference.

    Raises:
        SystemExit: the results differ by more than the tolerance.
    """
    seconds: dict[str, list[float]] = {way: [] for way in calls}
    results: dict[str, list[Any]] = {way: [] for way in calls}
    for _ in range(turns):
        for way, call in calls.items():
            started = time.process_time()
            results[way].append(call())
            seconds[way].append(time.process_time() - started)
    reference, *others = ([torch.as_tensor(value).double() for value in values] for values in results.values())
    pairs = [pair for values in others for pair in zip(values, reference, strict=True)]
    worst = max((float((a - b).abs().max() / b.abs().max()) for a, b in pairs), default=0.0)
    if worst > tolerance:
        raise SystemExit(f"{' and '.join(calls)} differ by {worst:.1e}")
    return {way: statistics.median(taken) for way, taken in seconds.items()}, results, worst


def command_line(description: str, quick: str, peak: Callable[..., Callable[[], object]]) -> argparse.Namespace:
    """Read the options of a step benchmark: `quick`, `out`, and `command`, which repeats it; sets the threads.

    A call with `--peak` is one of `peak_in_fresh_process`: `peak`, called with what follows it, returns the call to
    measure, and the program ends.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of torch; with more, waiting threads count as CPU time"
    )
    parser.add_argument("--out", type=Path, help="JSON record to write")
    parser.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.command = (
        f"python benchmarks/{Path(sys.argv[0]).name} --threads {options.threads}" + " --quick" * options.quick
    )
    torch.set_num_threads(options.threads)
    if options.peak:
        print(added_memory(peak(*options.peak)))
        raise SystemExit
    return options


def peak_in_fresh_process(script: str, *arguments: object) -> float:
    """Run `script --peak ARGUMENTS`, which prints what `added_memory` returns: MiB."""
    command = [sys.executable, script, "--peak", *map(str, arguments)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def added_memory(call: Callable[[], object]) -> float:
    """MiB of resident memory that a call adds at its peak to what this process holds already (Linux)."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of building the model
    call()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """An entry of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def write_record(path: Path, command: str, what: str, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write rows, and what else is known, with the command, the versions and the machine that made them."""
    record = {
        "command": command,
        "what": what,
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, acclimate)}
        | {"python": platform.python_version()},
        "machine": {"processor": platform.machine(), "cpus": os.cpu_count(), "threads": torch.get_num_threads()},
        "rows": rows,
        **more,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def rows_of_record(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a record that is gone on with; none where there is no such file yet."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def adapt_calibrated(
    data: ImageData, method: str, backbone: DualEncoder, shots: str, seed: int, tested: bool = True
) -> AdaptedModel:
    """Adapt as `acclimate adapt` does, without baselines, and without the test images where nothing is tested."""
    from acclimate.data.cache import default_cache_dir
    from acclimate.runs import RunOptions, adapt_trial
    from acclimate.runs.several import choose_all_prompts, draw
    from acclimate.tasks import task_of

    task = task_of(data)
    drawn = task.parse_shots(shots)
    prompts, tests = choose_all_prompts(task, [data], None, {}, ())
    trial = draw([data], drawn, seed)
    options = RunOptions(device="cpu", cache_dir=default_cache_dir() / "features", calibrated=True)
    how: dict[str, Any] = {"prompts": prompts, "test_prompts": tests, "shots": drawn, "seed": seed}
    return adapt_trial(trial if tested else replace(trial, tests={}), method, backbone, options, **how)
