"""One thread a run, in which its model works; images of several requests run together.

Requests come one image at a time and from many clients, and a model is fastest on batches. Orders wait in a queue of a
bounded length. The thread takes what is there, up to a batch, and begins to decode it while the batch before is in the
tower, as `acclimate.runs.prediction` does with files. Only an idle thread waits, for a few milliseconds, for more.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from acclimate.counting import counted
from acclimate.serving.gauges import Gauges
from acclimate.serving.upload import Upload

PATIENCE = 0.004  # seconds in which an idle thread waits for more images
WEIGHT = 0.2  # of the last batch in the mean time of an image

logger = logging.getLogger("acclimate.serving")


class Work(Protocol):
    """What is done with images; orders of the same work run together.

    Attributes:
        most: images at once.
    """

    most: int

    def begin(self, images: Sequence[Upload]) -> Any:
        """Return what is under way while the batch before is finished, such as the decoding of images."""
        ...

    def finish(self, images: Sequence[Upload], begun: Any) -> Sequence[Any]:
        """Return what is said of each image; called in the thread of the model."""
        ...


class Busy(Exception):
    """The queue is full; `seconds` is how long it takes, as far as one can tell."""

    def __init__(self, waiting: int, seconds: int) -> None:
        super().__init__(waiting, seconds)
        self.waiting, self.seconds = waiting, seconds


@dataclass(eq=False)
class Order:
    """What one request wants of a model: the future has a result for each image, in order."""

    work: Work
    images: Sequence[Upload]
    future: Future[list[Any]] = field(default_factory=Future)
    taken: int = 0
    results: list[Any] = field(default_factory=list)

    def receive(self, results: Sequence[Any]) -> None:
        """Take results of the next images; the last of them end the order."""
        self.results += results
        if len(self.results) == len(self.images) and not self.future.done():
            self.future.set_result(self.results)

    def fail(self, error: Exception) -> None:
        """End the order without results."""
        self.taken = len(self.images)
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(frozen=True)
class Batch:
    """Images of one work, from one order or several, and what is under way with them."""

    work: Work
    parts: Sequence[tuple[Order, Sequence[Upload]]]

    @property
    def images(self) -> list[Upload]:
        """All of them."""
        return [image for _, images in self.parts for image in images]


class ModelThread:
    """The thread and its queue.

    Args:
        name: of the run.
        most_waiting: images without an answer, at most.
        most_pixels: of the images of a batch together, at most, unless a single one has more.
        gauges: are told of images and batches.
        patience: seconds in which an idle thread waits for more images.
    """

    def __init__(
        self, name: str, most_waiting: int, most_pixels: int, gauges: Gauges, patience: float = PATIENCE
    ) -> None:
        self.name, self.most_waiting, self.most_pixels, self.patience = name, most_waiting, most_pixels, patience
        self.gauges, self.waiting, self.pace = gauges, 0, 0.0
        self._orders: deque[Order] = deque()
        self._changed, self._closed = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)
        gauges.waiting.labels(name).set_function(lambda: self.waiting)

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """Take no more orders, and return when those that are there are done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def submit(self, work: Work, images: Sequence[Upload]) -> Future[list[Any]]:
        """Return the future of what is said of images, at least one.

        Raises:
            Busy: they do not fit into the queue, or it is closed.
        """
        order = Order(work, images)
        with self._changed:
            if self._closed or self.waiting + len(images) > self.most_waiting:
                raise Busy(self.waiting, max(1, math.ceil(self.waiting * self.pace)))
            self.waiting += len(images)
            self._orders.append(order)
            self._changed.notify_all()
        return order.future

    def _run(self) -> None:
        begun: tuple[Batch, Any] | None = None
        while True:
            batch = self._take(idle=begun is None)
            if batch is None and begun is None:
                return
            following = None if batch is None else (batch, batch.work.begin(batch.images))
            if begun is not None:
                self._finish(*begun)
            begun = following

    def _take(self, idle: bool) -> Batch | None:
        """Return the next batch; none where there is none now, or, where the thread is idle, where none will come."""
        with self._changed:
            while not (batch := self._gather()):
                if self._closed or not idle:
                    return None
                self._changed.wait()
            deadline = time.monotonic() + self.patience
            while idle and not self._closed and len(batch.images) < batch.work.most:
                if (left := deadline - time.monotonic()) <= 0 or not self._changed.wait(left):
                    break
                batch = self._gather() or batch
            for order, images in batch.parts:
                if not order.taken:
                    order.future.set_running_or_notify_cancel()
                order.taken += len(images)
            self._orders = deque(order for order in self._orders if order.taken < len(order.images))
            return batch

    def _gather(self) -> Batch | None:
        """Return the images that would run next: those of the first order, and of others with the same work."""
        self._forget_cancelled()
        if not self._orders:
            return None
        work, count, pixels = self._orders[0].work, 0, 0
        parts: list[tuple[Order, Sequence[Upload]]] = []
        for order in self._orders:
            if order.work is not work:
                continue
            fit = 0
            for image in order.images[order.taken :]:
                if count == work.most or (count and pixels + image.pixels > self.most_pixels):
                    break
                fit, count, pixels = fit + 1, count + 1, pixels + image.pixels
            if fit:
                parts.append((order, order.images[order.taken : order.taken + fit]))
            if order.taken + fit < len(order.images):
                break
        return Batch(work, parts)

    def _forget_cancelled(self) -> None:
        """Drop orders that nobody waits for any more; those that stay can be cancelled no more once they are taken."""
        gone = [order for order in self._orders if order.future.cancelled()]
        for order in gone:
            self._orders.remove(order)
            self.waiting -= len(order.images) - order.taken

    def _finish(self, batch: Batch, begun: Any) -> None:
        """Give the orders of a batch their results, or the error that kept them from any."""
        images, started, failure = batch.images, time.monotonic(), None
        parts: list[list[Any]] = []
        try:
            rest = iter(batch.work.finish(images, begun))
            parts = [[next(rest) for _ in part] for _, part in batch.parts]
        except Exception as error:  # whatever it is, the others that wait must not wait for ever
            what = f"{counted(len(images), 'image')} failed: {type(error).__name__}: {error}"
            logger.error("%s: %s", self.name, what, exc_info=True)
            failure = error
        seconds = time.monotonic() - started
        self.pace += WEIGHT * (seconds / len(images) - self.pace)
        self.gauges.batches.labels(self.name).observe(len(images))
        self.gauges.batch_seconds.labels(self.name).observe(seconds)
        with self._changed:  # before anybody is told: who has its answer waits no more
            self.waiting -= len(images)
        if failure is not None:
            self._fail(batch, failure)
            return
        for (order, _), results in zip(batch.parts, parts, strict=True):
            order.receive(results)

    def _fail(self, batch: Batch, error: Exception) -> None:
        with self._changed:
            for order, _ in batch.parts:
                left = len(order.images) - order.taken
                order.fail(error)
                if order in self._orders:
                    self._orders.remove(order)
                    self.waiting -= left
