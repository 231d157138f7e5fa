"""Bulk prediction: images stream in, rows stream out, and memory does not grow with their number."""

from __future__ import annotations

import os
from collections import deque
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
from acclimate.training.devices import Precision, in_precision
from acclimate.training.encoding import encode, encoders_of
from acclimate.training.feeding import other_names
from acclimate.training.feeds import DECODERS
from acclimate.training.inputs import Given, InputKind, find_kind
from acclimate.training.lanes import Lanes

if TYPE_CHECKING:
    from acclimate.backbones import Encoder
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
    precision: Precision = "fp32",
) -> Iterator[Any]:
    """Yield one prediction an image, in order, holding two batches at a time, or one and as many as keep threads busy.

    While the method says something of one batch, frozen encoders read the next one, and others are decoded. What they
    give is the same bit for bit however many threads there are, see `Lanes`.

    Args:
        task: says what a prediction is.
        method: ready to predict.
        sources: images, the bytes of files, files, folders and patterns; see `find_images`.
        batch_size: images a pass.
        on_corrupt: `error` raises at the first image that cannot be read; `skip` yields a prediction with its `error`.
        bands: those of each file that are shown, see `open_image`; Pillow images are taken as they are.
        precision: number format of encoders and method, see `in_precision`.

    Raises:
        ConfigError: a number format that the device has no use for.
        DataError: see `find_images`, and for an unreadable image where `on_corrupt` is `error`.
    """
    if method.training:  # what was kept stays, also for others that predict at the same time
        method.eval()
    reader = Reader.of(method, task.reads, bands, precision)
    return stream_read(task, method, reader, sources, batch_size, on_corrupt)


def stream_read(
    task: Predictor,
    method: Method | None,
    reader: Reader,
    sources: Iterable[ImageSource],
    batch_size: int,
    on_corrupt: str,
) -> Iterator[Any]:
    """Yield what a task says of each image that a reader reads, see `stream_predictions`."""
    images = enumerate(find_images(sources), start=1)
    with ThreadPoolExecutor(DECODERS, "decode") as pool, Lanes.of(reader.given.backbone) as lanes:
        window: deque[Reading] = deque()
        for chunk in iter(lambda: list(islice(images, batch_size)), []):
            decoded = [pool.submit(reader.decode, image, number) for number, image in chunk]
            window.append(Reading.of(chunk, reader.begin(decoded, lanes)))
            if len(window) == lanes.batches(batch_size):
                yield from predict_read(task, method, reader, window.popleft(), on_corrupt)
        while window:
            yield from predict_read(task, method, reader, window.popleft(), on_corrupt)


class Decoded(NamedTuple):
    """The pixels of an image for each encoder, and what each kind of input that looks at it needs of it."""

    pixels: list[torch.Tensor]
    views: list[Any]


class Piece(NamedTuple):
    """Some images of a batch as encoders have read them.

    Attributes:
        batch: of those that could be decoded; none where none could.
        decoded: these.
        errors: why an image could not be decoded, none for those that could; in the order of the images.
    """

    batch: Batch | None
    decoded: list[Decoded]
    errors: list[DataError | None]


class Reading(NamedTuple):
    """A batch that is being read.

    Attributes:
        known: what inputs that know files are told of each image; they look for their rows by it.
        paths: what predictions call the images.
        pieces: what `Reader.begin` returned.
    """

    known: Sequence[ImageSource]
    paths: Sequence[str]
    pieces: Sequence[Future[Piece]]

    @classmethod
    def of(cls, images: Sequence[tuple[int, ImageSource]], pieces: Sequence[Future[Piece]]) -> Reading:
        """Return that of images with their numbers."""
        paths = ["" if isinstance(image, Image.Image | bytes) else printable(image) for _, image in images]
        return cls([_named(image, number) for number, image in images], paths, pieces)


class Reader:
    """Makes what is read of images: through encoders, or by what input modules know of files.

    Args:
        encoders: each with what is wanted of it, see `encoders_of`.
        others: names of what no encoder gives of whole images.
        given: what these are made of.
        words: who reads it, for messages.
        bands: those of each file that are shown.
        precision: number format of the encoders.
    """

    def __init__(
        self,
        encoders: Sequence[tuple[Encoder, frozenset[str]]],
        others: Iterable[str],
        given: Given,
        words: str = "",
        bands: Bands | None = None,
        precision: Precision = "fp32",
    ) -> None:
        self.encoders, self.given, self.words = encoders, given, words
        self.bands, self.context = bands, in_precision(precision, given.backbone.device)
        self.others = [find_kind(name) for name in others]
        self.looking = [kind for kind in self.others if kind.looks]
        self.notices = Notices()

    @classmethod
    def of(
        cls,
        method: Method,
        beside: frozenset[str] = frozenset(),
        bands: Bands | None = None,
        precision: Precision = "fp32",
    ) -> Reader:
        """Return the reader of what a method reads in prediction, and of something beside it."""
        given = Given(method.backbone, method.domain_encoder, config=method.config)
        names = method.inputs.prediction | beside
        encoders = encoders_of(names, given.backbone, given.domain_encoder)
        return cls(encoders, other_names(names, encoders), given, method.reading, bands, precision)

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
        pixels = [encoder.transform(rgb) for encoder, _ in self.encoders]
        return Decoded(pixels, [kind.view(rgb, self.given) for kind in self.looking])

    def begin(self, decoded: Sequence[Future[Decoded]], lanes: Lanes) -> list[Future[Piece]]:
        """Begin to read images with the encoders as soon as they are decoded."""
        starts = range(0, len(decoded), lanes.piece)
        return [lanes.submit(self._piece, decoded[start : start + lanes.piece]) for start in starts]

    @torch.no_grad()
    def _piece(self, futures: Sequence[Future[Decoded]]) -> Piece:
        found: list[Decoded] = []
        errors: list[DataError | None] = []
        for future in futures:
            try:
                found.append(future.result())
                errors.append(None)
            except DataError as error:
                errors.append(error)
        if not found:
            return Piece(None, found, errors)
        with self.context():
            batch = self.encoded(found) | self._others(found, [kind for kind in self.others if kind.divides])
        return Piece(batch.in_full(), found, errors)

    def batch(self, images: Sequence[ImageSource], decoded: Sequence[Decoded]) -> Batch:
        """Return a batch of images that are decoded."""
        return self.encoded(decoded) | self._others(decoded, self.others, images)

    def joined(self, images: Sequence[ImageSource], pieces: Sequence[Piece]) -> Batch:
        """Return the batch of images, those of some pieces that could be decoded: one or more."""
        found = Batch.joined([piece.batch for piece in pieces if piece.batch is not None])
        decoded = [one for piece in pieces for one in piece.decoded]
        return found | self._others(decoded, [kind for kind in self.others if not kind.divides], images)

    def encoded(self, decoded: Sequence[Decoded]) -> Batch:
        """Return what image encoders give of whole images."""
        batch, pixels = Batch(self.words), [one.pixels for one in decoded]
        for (encoder, names), views in zip(self.encoders, zip(*pixels, strict=True), strict=True):
            batch |= encode(encoder, encoder.transform.normalise(torch.stack(views)).to(encoder.device), names)
        return batch

    def _others(
        self, decoded: Sequence[Decoded], kinds: Sequence[InputKind], images: Sequence[ImageSource] = ()
    ) -> Batch:
        """Return what some kinds of input give of images; those that do not look at them are told which they are."""
        batch = Batch()
        for kind in kinds:
            views = [one.views[self.looking.index(kind)] for one in decoded] if kind.looks else images
            batch |= kind.batch(views, self.given)
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


@torch.no_grad()
def predict_read(
    task: Predictor, method: Method | None, reader: Reader, reading: Reading, on_corrupt: str = "error"
) -> Iterator[Any]:
    """Yield one prediction an image, in order, of a batch that is being read.

    Args:
        task: says what a prediction is.
        method: ready to predict.
        reader: of what both read.
        reading: the batch.
        on_corrupt: as in `stream_predictions`.

    Raises:
        DataError: an image cannot be read, and `on_corrupt` is `error`.
    """
    pieces = [piece.result() for piece in reading.pieces]
    errors = [error for piece in pieces for error in piece.errors]
    first = next((error for error in errors if error), None)
    if first and on_corrupt == "error":
        raise first
    fine = [place for place, error in enumerate(errors) if not error]
    rows: Iterator[Any] = iter(())
    if fine:
        with reader.context():  # it is left before a row is given out
            batch = reader.joined([reading.known[place] for place in fine], pieces)
            rows = iter([*task.predict(method, batch, [reading.paths[place] for place in fine])])
    for path, error in zip(reading.paths, errors, strict=True):
        yield task.unreadable(path, str(error)) if error else next(rows)
