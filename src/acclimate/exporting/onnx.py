"""A graph of a classifier as an ONNX file, and the proof that it says what the classifier says."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acclimate.errors import ConfigError, RunError
from acclimate.exporting.graph import ClassifierGraph
from acclimate.extras import require

EXTRA = "onnx"
OPSET = 20  # the first one that has GELU
OUTPUTS = ("logits", "probabilities")
EXAMPLE = 2  # images that the graph is traced with
BATCHES = (1, 3, 5)  # images of the batches that are compared, none of which is the example's
TOLERANCE = 1e-4  # by which probabilities may differ
LARGEST = 1_900_000_000  # bytes of weights that one file holds; more stand in a file beside it
NOISY = ("torch.export", "torch.onnx", "torch.fx", "torch._dynamo", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class Parity:
    """How far two programs agree.

    Attributes:
        images: how many they were compared on.
        difference: the largest absolute difference of two probabilities.
    """

    images: int
    difference: float

    @classmethod
    def of(cls, ours: np.ndarray, theirs: np.ndarray, what: str) -> Parity:
        """Return how far probabilities (N, C) agree.

        Args:
            ours, theirs: of torch, and of onnxruntime.
            what: they are of, for messages.

        Raises:
            RunError: they differ by more than `TOLERANCE`, are not finite, or name another class as the most probable.
        """
        difference = float(np.abs(ours - theirs).max())
        first = np.sort(ours, axis=1)[:, -2:]
        sure = first[:, -1] - first[:, 0] > 2 * TOLERANCE  # of a single class there is nothing to be sure of
        other = int((ours.argmax(1) != theirs.argmax(1))[sure].sum())
        if not difference <= TOLERANCE or other:  # what is not a number is no less than anything
            raise RunError(
                f"the graph does not say what the run says: on {what} probabilities differ by up to {difference:.2g} "
                f"and {other} of {len(ours)} labels are others; nothing was written"
            )
        return cls(len(ours), difference)


def write_graph(graph: ClassifierGraph, path: Path) -> None:
    """Write a graph that takes batches of any size as an ONNX file.

    Text towers of which the class directions are all that is read do not enter: these are constants.

    Args:
        graph: of a classifier whose weights are on the CPU, in float32.
        path: the file to make; weights of more than 1.9 GB stand beside it, in a file of its name with ".data" behind.

    Raises:
        AcclimateError: the extra `onnx` is not installed.
        ConfigError: the classifier does something that has no form in ONNX.
    """
    for module in ("onnx", "onnxscript"):
        require(module, EXTRA)
    example = graph.example(EXAMPLE, seed=0)
    batch = torch.export.Dim("batch", min=1)
    shapes: dict[str, Any] = {"pixels": tuple({0: batch} for _ in example)}
    with torch.no_grad(), _quiet():
        graph(*example)  # what is made on first use is made before it is looked at
        try:
            program = torch.export.export(graph, example, dynamic_shapes=shapes, strict=False)
            written: Any = torch.onnx.export(
                program,
                input_names=[view.name for view in graph.views],
                output_names=list(OUTPUTS),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # whatever a model of transformers, the tracer or a translation stumbles over
            cause = error.__cause__ or error
            reason = next(iter(str(cause).strip().splitlines()), type(cause).__name__)
            raise ConfigError(
                f"{graph.method.name} on '{graph.method.backbone.name}' has no form in ONNX ({reason[:200]}); predict "
                "with `acclimate predict`, or adapt with another method"
            ) from error
        weights = [value.const_value for value in written.model.graph.initializers.values()]
        size = sum(weight.nbytes for weight in weights if weight is not None)
        written.save(path, external_data=size > LARGEST)


def open_session(path: Path) -> Any:
    """Return an onnxruntime session of an ONNX file, on the CPU.

    Raises:
        AcclimateError: the extra `onnx` is not installed.
    """
    runtime = require("onnxruntime", EXTRA)
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


@torch.no_grad()
def compare(graph: ClassifierGraph, session: Any, batches: Sequence[int] = BATCHES) -> Parity:
    """Return how far a session agrees with the graph that it was made of, on random numbers in batches of such sizes.

    Raises:
        RunError: they do not agree, see `Parity`.
    """
    ours, theirs = [], []
    for size in batches:
        views = graph.example(size, seed=size)
        ours.append(graph(*views)[1].numpy())
        named = {view.name: values.numpy() for view, values in zip(graph.views, views, strict=True)}
        theirs.append(session.run(["probabilities"], named)[0])
    return Parity.of(np.concatenate(ours), np.concatenate(theirs), "random numbers")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the tracer tells developers of itself from users."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for each in loggers:
                each.setLevel(logging.CRITICAL)
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)
