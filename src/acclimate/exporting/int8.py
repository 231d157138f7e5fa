"""Graphs whose products run on whole numbers of 8 bits, and what that costs on test images."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from acclimate.exporting.onnx import EXTRA, LARGEST
from acclimate.extras import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acclimate.runs import AdaptedModel

MOST_MEASURED = 1000  # test images
REMARK = "pre-processing"  # what the quantiser advises developers to do


@dataclass(frozen=True)
class Cost:
    """What a graph of 8 bits says of test images, beside the graph of 32 bits that it was made of.

    Attributes:
        images: how many, at most `MOST_MEASURED` of those that are where they were.
        accuracy: share of right labels, 0 to 1; none without images.
        accuracy_float32: the same of the graph of 32 bits.
        agreement: share of images of which both graphs say the same; none without images.
        largest_difference: of two probabilities; none without images.
        bytes_float32: size of the graph of 32 bits.
    """

    images: int
    accuracy: float | None
    accuracy_float32: float | None
    agreement: float | None
    largest_difference: float | None
    bytes_float32: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return asdict(self)


def quantise(path: Path) -> None:
    """Put a graph in the place of another that multiplies whole numbers of 8 bits.

    Weights have a scale for each output (Jacob et al. 2018, arXiv 1712.05877, section 2.1, per channel); what flows
    through the graph has one that is found anew for each tensor when it runs, so that no images are needed here.

    Args:
        path: the ONNX file, whose weights may stand beside it.

    Raises:
        AcclimateError: the extra `onnx` is not installed.
    """
    require("onnx", EXTRA)
    quantization = require("onnxruntime.quantization", EXTRA)
    part = path.with_name("int8.onnx")
    weights = path.with_name(path.name + ".data")
    size = path.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
    with _without_advice():
        quantization.quantize_dynamic(
            path,
            part,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            use_external_data_format=size / 4 > LARGEST,
        )
    weights.unlink(missing_ok=True)
    part.replace(path)


def cost_of(
    model: AdaptedModel, paths: list[str], whole: NDArray[np.float32], short: NDArray[np.float32], size: int
) -> Cost:
    """Return what a graph of 8 bits costs.

    Args:
        model: of the run, which has kept the labels of its test images.
        paths: N test images.
        whole, short: probabilities (N, C) of the graphs of 32 and of 8 bits.
        size: bytes of the graph of 32 bits.
    """
    if not paths:
        return Cost(0, None, None, None, None, size)
    labels = _labels(model)
    right = np.array([model.class_names.index(labels[path]) for path in paths])
    said, known = short.argmax(axis=1), whole.argmax(axis=1)
    return Cost(
        images=len(paths),
        accuracy=float((said == right).mean()),
        accuracy_float32=float((known == right).mean()),
        agreement=float((said == known).mean()),
        largest_difference=float(np.abs(short - whole).max()),
        bytes_float32=size,
    )


def measured_images(model: AdaptedModel, there: list[str]) -> list[str]:
    """Return those of some test images whose label is one of the classes that are bound."""
    labels = _labels(model)
    return [path for path in there if labels.get(path) in model.class_names]


def _labels(model: AdaptedModel) -> Mapping[str, str]:
    table = model.predictions
    if table is None:
        return {}
    return dict(zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep from users what the quantiser advises developers to do."""

    def is_ours(record: logging.LogRecord) -> bool:
        return REMARK not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_ours)
    try:
        yield
    finally:
        root.removeFilter(is_ours)
