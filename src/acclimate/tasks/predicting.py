"""The contract of predicting: what a task says of images that have no labels."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from acclimate.errors import ConfigError

if TYPE_CHECKING:
    from acclimate.tasks.within import Within
    from acclimate.training.batch import Batch


class Predicting(ABC):
    """What a task says of images alone: one prediction each, as a row of a table, as plain values and as text.

    Attributes:
        title: of the task, for readers.
        reads: what its predictions read of an image, beside what the method does.
    """

    title: ClassVar[str]
    reads: frozenset[str] = frozenset()

    def check_predicts(self, method: Any) -> None:
        """Refuse to predict where there is nothing to say of an image alone.

        Raises:
            ConfigError: so it is.
        """
        raise ConfigError(f"{self.title} says nothing of an image alone; measure it with `evaluate`")

    def predictor(
        self, method: Any, coverage: float | None = None, known: float = 0.0, within: Within | None = None
    ) -> Any:
        """Return what predicts: by default itself, which has neither sets of classes nor p-values.

        Args:
            method: ready to predict.
            coverage: how often a set of classes is to hold the right one, above 0 and below 1; none: no sets.
            known: the p-value below which an image is called unknown; 0: nothing is said of that.
            within: the hierarchy whose deepest sure node is said, too; none: none is.

        Raises:
            ConfigError: sets are asked for, and there are no classes.
        """
        if coverage is not None:
            raise ConfigError(f"`coverage` is for classes, and {self.title.lower()} has none; leave it out")
        return self

    def adapting_to_folder(self, method: Any) -> Any:
        """Return what says of each image what all of them together suggest; by default there is nothing that does.

        Raises:
            ConfigError: there are no classes, or the method has nothing that could be adapted.
        """
        raise ConfigError(f"`adapt_to_folder=True` is for classes, and {self.title.lower()} has none; leave it out")

    def complete(self, method: Any, predictions: Iterable[Any]) -> Iterable[Any]:
        """Return the predictions as they are given out, here one by one as they come."""
        return predictions

    def notes(self) -> Iterable[tuple[int, str]]:
        """Return what must be known of predictions before they are read, each with the level of its message."""
        return ()

    def predict(self, method: Any, batch: Batch, paths: Sequence[str]) -> Iterator[Any]:
        """Yield a prediction for each image of a batch."""
        raise NotImplementedError

    def unreadable(self, path: str, reason: str) -> Any:
        """Return the prediction of an image that cannot be read."""
        raise NotImplementedError

    def columns(self, method: Any) -> dict[str, type]:
        """Return the columns of a table of predictions: `str` or `float`, by name."""
        raise NotImplementedError

    def row(self, method: Any, prediction: Any) -> dict[str, str | float | None]:
        """Return a prediction as a row of such a table."""
        raise NotImplementedError

    def plain(self, method: Any, prediction: Any) -> dict[str, Any]:
        """Return a prediction as plain values, ready for JSON."""
        return self.row(method, prediction)

    def line(self, prediction: Any) -> str:
        """Return a prediction as a line of text."""
        raise NotImplementedError
