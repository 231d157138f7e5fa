"""Bulk prediction: images stream in, rows stream out, and memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from acclimate.data import open_image
from acclimate.data.batch import Batch
from acclimate.data.finding import ImageSource, find_images
from acclimate.data.images import decoding, to_rgb
from acclimate.errors import DataError
from acclimate.training.feeds import DECODERS, encode_pixels
from acclimate.training.serving import encoders_of

if TYPE_CHECKING:
    from acclimate.data.transforms import ImageTransform
    from acclimate.methods import Method
    from acclimate.training.feeds import Encoder


@dataclass(frozen=True)
class Prediction:
    """What the adapter says of one image.

    Attributes:
        path: the file, or empty for an image in memory.
        label: most probable class; empty where the image could not be read.
        probability: of that class, 0 to 1.
        probabilities: (C,) in the order of the adapter's classes; empty where the image could not be read.
        error: why the image could not be read, else empty.
        spread: of a method that predicts several times, the standard deviation of `probability`; else none.
    """

    path: str
    label: str
    probability: float
    probabilities: np.ndarray
    error: str = ""
    spread: float | None = None


def stream_predictions(
    method: Method, sources: Iterable[ImageSource], batch_size: int = 32, on_corrupt: str = "error"
) -> Iterator[Prediction]:
    """Yield one prediction an image, in order, holding two batches at a time.

    Args:
        method: bound to its classes.
        sources: images, files, folders and patterns; see `find_images`.
        batch_size: images a pass.
        on_corrupt: `error` raises at the first image that cannot be read; `skip` yields a prediction with its `error`.

    Raises:
        DataError: see `find_images`, and for an unreadable image where `on_corrupt` is `error`.
    """
    method.eval()
    images = find_images(sources)
    encoders = encoders_of(method.needs, method.backbone, method.domain_encoder)
    transforms = [encoder.transform for encoder, _ in encoders]
    with ThreadPoolExecutor(max_workers=DECODERS) as pool:
        window: list[tuple[list, list]] = []
        for chunk in iter(lambda: list(islice(images, batch_size)), []):
            window.append((chunk, [pool.submit(_decode, transforms, image) for image in chunk]))
            if len(window) == 2:  # the tower works on one batch while the next is decoded
                yield from _predict_batch(method, encoders, *window.pop(0), on_corrupt)
        for batch in window:
            yield from _predict_batch(method, encoders, *batch, on_corrupt)


def _decode(transforms: Sequence[ImageTransform], image: ImageSource) -> list[torch.Tensor]:
    """Return the pixels of one image through each transform."""
    if isinstance(image, Image.Image):
        with decoding("in memory"):
            rgb = to_rgb(image)
    else:
        rgb = open_image(image)
    return [transform(rgb) for transform in transforms]


def _printable(path: str | os.PathLike[str]) -> str:
    """Return a path as text that any file can hold; bytes of a name that are no UTF-8 are written as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@torch.no_grad()
def _predict_batch(
    method: Method, encoders: list[tuple[Encoder, frozenset[str]]], chunk: list, futures: list, on_corrupt: str
) -> Iterator[Prediction]:
    pixels, errors = [], []
    for future in futures:
        try:
            pixels.append(future.result())
            errors.append("")
        except DataError as error:
            if on_corrupt == "error":
                raise
            errors.append(str(error))
    rows: Iterator[tuple[np.ndarray, float | None]] = iter(())
    if pixels:
        batch = Batch()
        for (encoder, part), views in zip(encoders, zip(*pixels, strict=True), strict=True):
            inputs = encoder.transform.normalise(torch.stack(views)).to(encoder.device)
            batch |= encode_pixels(encoder, inputs, part)
        logits, spread = method.logits_and_spread(batch)
        spreads = [None] * len(logits) if spread is None else spread.tolist()
        rows = zip(logits.double().softmax(dim=-1).cpu().numpy(), spreads, strict=True)
    for image, reason in zip(chunk, errors, strict=True):
        path = "" if isinstance(image, Image.Image) else _printable(image)
        if reason:
            yield Prediction(path, "", 0.0, np.zeros(0), reason)
            continue
        row, differ = next(rows)
        best = int(row.argmax())
        yield Prediction(path, method.class_names[best], float(row[best]), row, spread=differ)
