"""What is done with images that were sent: rows and maps, each as the command line makes it of files."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from acclimate.data.images import open_image
from acclimate.runs.model import AdaptedModel
from acclimate.runs.prediction import Decoded, Piece, Reader, Reading, in_memory, predict_read
from acclimate.runs.saliency import look_at_images
from acclimate.runs.saliency_files import SIDE, as_png, draw_beside, draw_map
from acclimate.serving.upload import Upload
from acclimate.training.lanes import Lanes

BATCH = 32  # images a pass, as in `predict`
MOST_EXPLAINED = 2**22  # pixels of an image that is explained; occlusion holds many copies of one


class Saying:
    """What a task, or a question, says of images, see `acclimate.runs.prediction`.

    Args:
        task: a `Predictor`, such as a task or a question.
        model: whose method is ready to predict.
        decoders: threads that decode.
        lanes: threads in which encoders read.
        most_pixels: of an image.
    """

    most = BATCH

    def __init__(self, task: Any, model: AdaptedModel, decoders: Executor, lanes: Lanes, most_pixels: int) -> None:
        self.task, self.method, self.decoders, self.lanes = task, model.method, decoders, lanes
        self.most_pixels, self.bands = most_pixels, model.bands
        self.reader = Reader.of(self.method, task.reads)

    def begin(self, images: Sequence[Upload]) -> list[Future[Piece]]:
        """Begin to decode, and to read what is decoded."""
        return self.reader.begin([self.decoders.submit(self._decode, image) for image in images], self.lanes)

    def _decode(self, image: Upload) -> Decoded:
        rgb = open_image(
            image.content,
            name=image.name,
            notice=self.reader.notices,
            bands=self.bands,
            most_pixels=self.most_pixels,
        )
        return self.reader.views(rgb)

    def finish(self, images: Sequence[Upload], begun: Sequence[Future[Piece]]) -> list[Any]:
        """Return the prediction of each image, with an `error` where it could not be decoded."""
        # What senders call an image is for people: an input that knows files by their names is told a number.
        known = [in_memory(number) for number, _ in enumerate(images, start=1)]
        reading = Reading(known, [image.name for image in images], begun)
        return list(predict_read(self.task, self.method, self.reader, reading, "skip"))


class Drawn(NamedTuple):
    """A map as a PNG, of which class it is, and how it was made; see `SaliencyMap`."""

    png: bytes
    class_name: str
    probability: float
    how: str


class Explaining:
    """A map of what counts for a class, see `look_at_images`; one image at a time is held decoded.

    Args:
        model: tells classes apart.
        class_name: the class; none: the most probable one.
        beside: whether the image stands beside its map.

    Raises:
        ConfigError: the model tells no classes apart, or does not know this one.
    """

    most = 1

    def __init__(self, model: AdaptedModel, class_name: str | None, beside: bool) -> None:
        look_at_images(model, (), class_name)  # refuses what is wrong
        self.model, self.class_name, self.beside = model, class_name, beside

    def begin(self, images: Sequence[Upload]) -> None:
        """Leave all to `finish`."""

    def finish(self, images: Sequence[Upload], begun: None) -> list[Drawn]:
        """Return the map of each image.

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        return [self._draw(image) for image in images]

    def _draw(self, image: Upload) -> Drawn:
        rgb = open_image(image.content, name=image.name, bands=self.model.bands)
        if image.pixels > MOST_EXPLAINED:
            scale = (MOST_EXPLAINED / image.pixels) ** 0.5
            rgb.thumbnail((rgb.width * scale, rgb.height * scale))
        (found,) = look_at_images(self.model, rgb, self.class_name)
        png = draw_beside(found) if self.beside else as_png(draw_map(found, SIDE))
        return Drawn(png, found.class_name, found.probability, found.how)
