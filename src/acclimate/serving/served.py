"""A run that is served: its model, its thread, and what clients may ask of it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Any

from acclimate.counting import counted
from acclimate.data.images import UnreadableImage
from acclimate.errors import ConfigError
from acclimate.methods import Classifier, Generator
from acclimate.runs.model import AdaptedModel
from acclimate.serving.gauges import Gauges
from acclimate.serving.limits import Limits
from acclimate.serving.refusals import Refusal
from acclimate.serving.thread import Busy, ModelThread, Work
from acclimate.serving.upload import Upload, look_at
from acclimate.serving.works import Drawn, Explaining, Saying
from acclimate.tasks.asking import Asking
from acclimate.training.lanes import Lanes

REMEMBERED = 16  # settings and questions that are at hand


class ServedRun:
    """A run under a name.

    Args:
        name: what clients call it.
        model: what was loaded.
        limits: of the server.
        decoders: threads that decode images, of all runs.
        gauges: of the server.
    """

    def __init__(self, name: str, model: AdaptedModel, limits: Limits, decoders: Executor, gauges: Gauges) -> None:
        self.name, self.model, self.limits, self.gauges = name, model, limits, gauges
        self.decoders, self.lanes = decoders, Lanes.of(model.backbone)
        self.thread = ModelThread(name, limits.max_queue, limits.max_pixels, gauges)
        self._sayings: OrderedDict[Hashable, Saying] = OrderedDict()
        model.method.eval()

    @property
    def able(self) -> dict[str, bool]:
        """What it can do, by the names of the paths."""
        method = self.model.method
        return {
            "predict": self._predicts,
            "explain": isinstance(method, Classifier) and bool(method.class_names),
            "ask": isinstance(method, Generator),
        }

    @property
    def _predicts(self) -> bool:
        try:
            self.model.task.check_predicts(self.model.method)
        except ConfigError:
            return False
        return True

    @property
    def has_sets(self) -> bool:
        """Whether it knows sets of classes for a coverage."""
        trust, names = self.model.trust, self.model.class_names
        return trust is not None and trust.held_out is not None and trust.serves(names)

    def describe(self) -> dict[str, Any]:
        """Return what clients may know of it; nothing of where it lies."""
        return {
            "name": self.name,
            "method": self.model.method.name,
            "task": self.model.task.title,
            "classes": list(self.model.class_names),
            "able": self.able,
            "sets": self.has_sets,
        }

    def predicting(self, coverage: float | None, known: float) -> Saying:
        """Return the work of predictions with these settings; images of requests that have the same run together.

        Raises:
            ConfigError: the run says nothing of an image alone, or has no such sets.
        """
        self.model.task.check_predicts(self.model.method)
        return self._saying((coverage, known), lambda: self.model.task.predictor(self.model.method, coverage, known))

    def asking(self, question: str, max_tokens: int) -> Saying:
        """Return the work of answers to a question; images of requests that ask the same run together.

        Raises:
            ConfigError: the run writes no text, or the question is empty.
        """
        asked = Asking(question, max_tokens)
        asked.check_predicts(self.model.method)
        return self._saying((asked.question, asked.max_tokens), lambda: asked)

    def _saying(self, key: Hashable, make: Callable[[], Any]) -> Saying:
        """Return the work of a key, the same one while it is asked for."""
        if key not in self._sayings:
            self._sayings[key] = Saying(make(), self.model, self.decoders, self.lanes, self.limits.max_pixels)
        self._sayings.move_to_end(key)
        while len(self._sayings) > REMEMBERED:
            self._sayings.popitem(last=False)
        return self._sayings[key]

    async def say(self, work: Saying, uploads: Sequence[Upload]) -> list[Any]:
        """Return what is said of each image, with an `error` where it cannot be read.

        Raises:
            UnreadableImage: none can be read.
            Refusal: the same, or there is no place or no time.
        """
        looked = await self._look_at(uploads)
        readable = [one for one in looked if isinstance(one, Upload)]
        if not readable:
            raise next(one for one in looked if isinstance(one, UnreadableImage))
        found = iter(await self._done(work, readable))
        rows = [
            next(found) if isinstance(one, Upload) else work.task.unreadable(upload.name, str(one))
            for upload, one in zip(uploads, looked, strict=True)
        ]
        if all(row.error for row in rows):
            raise Refusal(422, "image", rows[0].error)
        self.gauges.images.labels(self.name).inc(sum(not row.error for row in rows))
        self.gauges.refusals.labels("image").inc(sum(bool(row.error) for row in rows))
        return rows

    async def explain(self, work: Explaining, upload: Upload) -> Drawn:
        """Return the map of an image.

        Raises:
            UnreadableImage: it cannot be read.
            Refusal: there is no place or no time.
        """
        (looked,) = await self._look_at([upload])
        if isinstance(looked, UnreadableImage):
            raise looked
        (drawn,) = await self._done(work, [looked])
        self.gauges.images.labels(self.name).inc()
        return drawn

    async def _look_at(self, uploads: Sequence[Upload]) -> list[Upload | UnreadableImage]:
        """Return each image with its size, or why it cannot be read."""
        loop, most = asyncio.get_running_loop(), self.limits.max_pixels
        looked = [loop.run_in_executor(self.decoders, look_at, upload, most) for upload in uploads]
        found: list[Upload | UnreadableImage] = []
        for one in await asyncio.gather(*looked, return_exceptions=True):
            if not isinstance(one, Upload | UnreadableImage):
                raise one
            found.append(one)
        return found

    async def _done(self, work: Work, images: Sequence[Upload]) -> list[Any]:
        """Return what a work gives for images, when it is done."""
        try:
            future = self.thread.submit(work, images)
        except Busy as busy:
            waiting = counted(busy.waiting, "image waits", "images wait")
            again = counted(busy.seconds, "second")
            raise Refusal(
                503, "queue", f"{waiting} already; try again in {again}", {"Retry-After": str(busy.seconds)}
            ) from busy
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.limits.max_seconds)
        except TimeoutError:
            raise Refusal(
                503,
                "time",
                f"no answer within {self.limits.max_seconds:g} s; try again, or send fewer images",
                {"Retry-After": "5"},
            ) from None
