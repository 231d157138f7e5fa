"""Bulk prediction: images stream in, rows stream out, and memory does not grow with their number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from PIL import Image

from acclimate.data import open_image
from acclimate.data.bands import Bands
from acclimate.data.finding import ImageSource, find_images
from acclimate.data.held import HeldImage
from acclimate.data.images import Notices, decoding, to_rgb
from acclimate.errors import DataError
from acclimate.training.batch import Batch
from acclimate.training.encoding import encode, encoders_of
from acclimate.training.feeding import other_names
from acclimate.training.feeds import DECODERS
from acclimate.training.inputs import Given, find_kind

if TYPE_CHECKING:
    from acclimate.methods import Method


class Predictor(Protocol):
    """What is said of each image, such as a `Task`.

    Attributes:
        reads: what that needs of an image, beside what the method reads.
    """

    reads: frozenset[str]

    def predict(self, method: Any, batch: Batch, paths: Sequence[str]) -> Iterator[Any]:
        """Yield what is said of each image of a batch."""
        ...

    def unreadable(self, path: str, reason: str) -> Any:
        """Return what is said of an image that cannot be read."""
        ...


def stream_predictions(
    task: Predictor,
    method: Method,
    sources: Iterable[ImageSource],
    batch_size: int = 32,
    on_corrupt: str = "error",
    bands: Bands | None = None,
) -> Iterator[Any]:
    """Yield one prediction an image, in order, holding two batches at a time.

    Args:
        task: says what a prediction is.
        method: ready to predict.
        sources: images, the bytes of files, files, folders and patterns; see `find_images`.
        batch_size: images a pass.
        on_corrupt: `error` raises at the first image that cannot be read; `skip` yields a prediction with its `error`.
        bands: those of each file that are shown, see `open_image`; Pillow images are taken as they are.

    Raises:
        DataError: see `find_images`, and for an unreadable image where `on_corrupt` is `error`.
    """
    if method.training:  # what was kept stays, also for others that predict at the same time
        method.eval()
    images = enumerate(find_images(sources), start=1)
    given = Given(method.backbone, method.domain_encoder, config=method.config)
    reader = Reader(method, given, task.reads, bands)
    with ThreadPoolExecutor(max_workers=DECODERS) as pool:
        window: list[tuple[list, list]] = []
        for chunk in iter(lambda: list(islice(images, batch_size)), []):
            window.append((chunk, [pool.submit(reader.decode, image, number) for number, image in chunk]))
            if len(window) == 2:  # the tower works on one batch while the next is decoded
                yield from _predict_batch(task, method, reader, *window.pop(0), on_corrupt)
        for batch in window:
            yield from _predict_batch(task, method, reader, *batch, on_corrupt)


class Decoded(NamedTuple):
    """The pixels of an image for each encoder, and the image itself where something looks at it."""

    pixels: list[torch.Tensor]
    rgb: Image.Image | None


class Reader:
    """Makes what a method reads of images: through the encoders, or by what input modules know of files."""

    def __init__(self, method: Method, given: Given, beside: frozenset[str], bands: Bands | None = None) -> None:
        self.bands = bands
        self.given, names = given, method.inputs.prediction | beside
        self.encoders = encoders_of(names, given.backbone, given.domain_encoder)
        self.others = [find_kind(name) for name in other_names(names, self.encoders)]
        self.looks = any(kind.looks for kind in self.others)
        self.words = method.reading
        self.notices = Notices()

    def open(self, image: ImageSource, number: int) -> Image.Image:
        """Return one image, RGB; messages know it by its number where it has no file.

        Raises:
            DataError: it cannot be read.
        """
        if isinstance(image, Image.Image):
            with decoding(in_memory(number)):
                return to_rgb(image)
        if isinstance(image, HeldImage):
            return image.open(notice=self.notices, bands=self.bands)
        name = in_memory(number) if isinstance(image, bytes) else None
        return open_image(image, name=name, notice=self.notices, bands=self.bands)

    def decode(self, image: ImageSource, number: int) -> Decoded:
        """Return one image, through the transform of each encoder; see `open`."""
        return self.views(self.open(image, number))

    def views(self, rgb: Image.Image) -> Decoded:
        """Return an image that is open already, through the transform of each encoder."""
        return Decoded([encoder.transform(rgb) for encoder, _ in self.encoders], rgb if self.looks else None)

    def batch(self, images: Sequence[ImageSource], decoded: Sequence[Decoded]) -> Batch:
        """Return a batch of images that are decoded."""
        batch = self.encoded(decoded)
        for kind in self.others:
            batch |= kind.batch([one.rgb for one in decoded if one.rgb] if kind.looks else images, self.given)
        return batch

    def encoded(self, decoded: Sequence[Decoded]) -> Batch:
        """Return what image encoders give of whole images."""
        batch, pixels = Batch(self.words), [one.pixels for one in decoded]
        for (encoder, names), views in zip(self.encoders, zip(*pixels, strict=True), strict=True):
            batch |= encode(encoder, encoder.transform.normalise(torch.stack(views)).to(encoder.device), names)
        return batch


def in_memory(number: int) -> str:
    """Return what messages call an image that has no file."""
    return f"number {number} (in memory)"


def _named(image: ImageSource, number: int) -> ImageSource:
    """Return an image as what looks at names may know it."""
    return in_memory(number) if isinstance(image, bytes) else str(image) if isinstance(image, HeldImage) else image


def printable(path: str | os.PathLike[str] | HeldImage) -> str:
    """Return a path as text that any file can hold; bytes of a name that are no UTF-8 are written as \\xNN."""
    return os.fsencode(str(path) if isinstance(path, HeldImage) else path).decode("utf-8", "backslashreplace")


def _predict_batch(
    task: Predictor, method: Method, reader: Reader, chunk: list, futures: list, on_corrupt: str
) -> Iterator[Any]:
    paths = ["" if isinstance(image, Image.Image | bytes) else printable(image) for _, image in chunk]
    known = [_named(image, number) for number, image in chunk]
    return predict_decoded(task, method, reader, known, paths, futures, on_corrupt)


@torch.no_grad()
def predict_decoded(
    task: Predictor,
    method: Method,
    reader: Reader,
    images: Sequence[ImageSource],
    paths: Sequence[str],
    futures: Sequence[Future[Decoded]],
    on_corrupt: str = "error",
) -> Iterator[Any]:
    """Yield one prediction an image, in order, of a batch that is being decoded.

    Args:
        task: says what a prediction is.
        method: ready to predict.
        reader: of what both read.
        images: what inputs that know files are told; they look for their rows by it.
        paths: what predictions call the images.
        futures: what `Reader.decode` returns of each, when it is there.
        on_corrupt: as in `stream_predictions`.

    Raises:
        DataError: an image cannot be read, and `on_corrupt` is `error`.
    """
    pixels, errors = [], []
    for future in futures:
        try:
            pixels.append(future.result())
            errors.append("")
        except DataError as error:
            if on_corrupt == "error":
                raise
            errors.append(str(error))
    fine = [place for place, reason in enumerate(errors) if not reason]
    rows: Iterator[Any] = iter(())
    if fine:
        batch = reader.batch([images[place] for place in fine], pixels)
        rows = task.predict(method, batch, [paths[place] for place in fine])
    for path, reason in zip(paths, errors, strict=True):
        yield task.unreadable(path, reason) if reason else next(rows)
