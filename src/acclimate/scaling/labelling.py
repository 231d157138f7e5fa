"""Prediction of many images by actors of a Ray cluster, each of which holds the model and writes its rows itself."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import acclimate
from acclimate.bench.launching import Tries
from acclimate.bench.resources import Resources
from acclimate.errors import AcclimateError, RunError
from acclimate.scaling.cluster import RETRIES, Cluster, Lost, enter, machine, options
from acclimate.scaling.parts import Part

if TYPE_CHECKING:
    from acclimate.runs import AdaptedModel

PULSE = 0.5  # seconds between two reports of progress
CORES = 4  # of an actor without a GPU


@dataclass(frozen=True)
class Order:
    """What an actor does, as plain values.

    Attributes:
        load: arguments of `acclimate.load`.
        stream: options of `AdaptedModel.stream`.
        out: folder of the predictions.
        plugins: modules with methods.
        folder: the one from which relative paths count.
        version: of acclimate.
    """

    load: Mapping[str, Any]
    stream: Mapping[str, Any]
    out: str
    plugins: Sequence[str] = ()
    folder: str = field(default_factory=os.getcwd)
    version: str = acclimate.__version__


class Listener(Protocol):
    """Told what becomes of the parts."""

    def advanced(self, images: int) -> None:
        """So many more images are labelled."""

    def finished(self, part: Part) -> None:
        """The rows of a part are written."""

    def repeated(self, part: Part, reason: str) -> None:
        """A part failed and will be tried again."""

    def failed(self, part: Part, reason: str) -> None:
        """A part failed for good."""


class Labeller:
    """The actor: it loads the model once, and labels one part after another.

    Args:
        order: an `Order` as plain values.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self.order = Order(**order)

    @cached_property
    def model(self) -> AdaptedModel:
        """The model, loaded.

        Raises:
            AcclimateError: this machine cannot load it.
        """
        from acclimate.methods import load_plugin
        from acclimate.runs import load

        enter(self.order.folder, self.order.version)
        for plugin in self.order.plugins:
            load_plugin(plugin)
        if not Path(self.order.out).is_dir():
            raise AcclimateError(f"{self.order.out} is not here; name an `out` that all machines share")
        return load(**self.order.load)

    def open(self) -> Iterator[dict[str, Any]]:
        """Load the model, and yield that it is `ready`, or why it `failed`."""
        try:
            self.model.task.check_predicts(self.model.method)
        except AcclimateError as error:
            yield {"failed": f"{machine()}: {error}"}
            return
        yield {"ready": machine()}

    def label(self, images: Sequence[str], file: str) -> Iterator[dict[str, Any]]:
        """Label a part and write its rows; yield how many images more are `labelled`, and `done`, or why it `failed`.

        Args:
            images: of the part.
            file: name of the file of its rows; it is there when all of them are written.
        """
        try:
            labelled, said = 0, time.monotonic()
            for _ in self._rows(images, Path(self.order.out) / file):
                labelled += 1
                if time.monotonic() - said >= PULSE:
                    yield {"labelled": labelled}
                    labelled, said = 0, time.monotonic()
            yield {"labelled": labelled, "done": True}
        except (AcclimateError, OSError) as error:
            yield {"failed": f"{machine()}: {error}"}

    def _rows(self, images: Sequence[str], file: Path) -> Iterator[None]:
        """Write the row of each image, and yield after each."""
        from acclimate.runs.prediction_files import open_writer

        model, asked = self.model, self.order.stream
        within = model.within(asked["hierarchy"], asked["floor"])
        task = model.task.predictor(model.method, asked["coverage"], asked["known"], within)
        writer = open_writer(file, task.columns(model.method))
        try:
            for prediction in model.stream(list(images), on_corrupt="skip", **asked):
                writer.write(task.row(model.method, prediction))
                yield
            writer.close()
        except BaseException:
            writer.abandon()
            raise


class Crew:
    """Actors that do parts until all are done.

    As many are hired as the cluster has room for. Each has one part at a time, so that fast ones do more; what an actor
    was doing when its machine was lost is done by another, and one is hired in its place.

    Args:
        cluster: where they are.
        order: what they do.
        asked: resources of an actor.
        retries: how often a part that fails is tried again.
    """

    def __init__(self, cluster: Cluster, order: Order, asked: Resources, retries: int = RETRIES) -> None:
        self.cluster, self.order, self.asked = cluster, order, asked
        self.tries, self.hires = Tries(retries), Tries(retries)
        self.calls: dict[Any, tuple[Any, Part | None]] = {}  # what each call of an actor is about; none: it loads
        self.waiting: deque[Part] = deque()

    def run(self, parts: Sequence[Part], listener: Listener) -> None:
        """Do all parts; those that fail are reported, and the others go on.

        Raises:
            ConfigError: the only machine has not what an actor asks for.
            RunError: a machine cannot load the model, or actors are lost again and again before they have.
        """
        self.cluster.check(self.asked, "an actor")
        self.waiting.extend(parts)
        try:
            for _ in range(min(max(1, self.cluster.slots(self.asked)), len(parts))):
                self._hire()
            while self.calls:
                for call, answer in self.cluster.answers(self.calls):
                    self._hear(call, answer, listener)
        finally:
            for actor, _ in self.calls.values():
                self.cluster.ray.kill(actor)
            self.calls.clear()

    def _hire(self) -> None:
        kind = self.cluster.ray.remote(Labeller).options(max_restarts=0, **options(self.asked))
        actor = kind.remote(asdict(self.order))
        self.calls[actor.open.options(num_returns="streaming").remote()] = (actor, None)

    def _hear(self, call: Any, answer: Any, listener: Listener) -> None:
        """Pass on what was heard of a call; give its actor more to do when it is over, or let it go."""
        actor, part = self.calls[call]
        if isinstance(answer, Lost):
            del self.calls[call]
            self.cluster.ray.kill(actor)  # it may only be out of reach
            self._lost(part, answer.reason, listener)
            return
        if "labelled" in answer:
            listener.advanced(answer["labelled"])
        if part is not None and "done" in answer:
            listener.finished(part)
        elif "failed" in answer:
            if part is None:
                raise RunError(answer["failed"])
            self._failed(part, answer["failed"], listener)
        elif "ready" in answer:
            self.hires = Tries(self.tries.retries)
        else:
            return  # it is still at it
        del self.calls[call]
        if self.waiting:
            part = self.waiting.popleft()
            self.calls[actor.label.options(num_returns="streaming").remote(part.images, part.file)] = (actor, part)
        else:
            self.cluster.ray.kill(actor)

    def _lost(self, part: Part | None, reason: str, listener: Listener) -> None:
        """Do without an actor that has gone, and hire another where there is work for it."""
        if part is not None:
            self._failed(part, reason, listener)
        elif not self.hires.again("an actor"):
            raise RunError(f"actors end before they have loaded the model ({reason}); give them more memory or fewer")
        if self.waiting:
            self._hire()

    def _failed(self, part: Part, reason: str, listener: Listener) -> None:
        if self.tries.again(part.file):
            listener.repeated(part, reason)
            self.waiting.append(part)
        else:
            listener.failed(part, reason)
