"""What `AdaptedModel` is asked beside labels: a question, and what is said in a hierarchy of its classes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from acclimate import arguments
from acclimate.data import each_image
from acclimate.data.given import Several
from acclimate.data.hierarchy import Hierarchy
from acclimate.errors import ConfigError
from acclimate.runs.prediction import stream_predictions
from acclimate.tasks.asking import Answer, Asking
from acclimate.tasks.within import FLOOR, Within

if TYPE_CHECKING:
    from acclimate.runs.model import AdaptedModel


def ask_about(
    self: AdaptedModel, images: Several, question: str, max_tokens: int = 64, on_corrupt: str = "error"
) -> list[Answer]:
    """Return what a generative model answers about each image.

    Args:
        images: as in `predict`.
        question: what is asked about each of them.
        max_tokens: longest answer in tokens of the model, 1 or more.
        on_corrupt: as in `stream`; what is skipped has an answer with its `error`.

    Raises:
        ConfigError: a method that writes no text, an empty question, or an option out of its range.
        BackboneError: question and answer do not fit into the context of the model.
        DataError: an image that cannot be read.
    """
    asking = Asking(arguments.text("question", question), arguments.whole("max_tokens", max_tokens, 1))
    asking.check_predicts(self.method)
    arguments.one_of("on_corrupt", on_corrupt, ("error", "skip"))
    return list(stream_predictions(asking, self.method, each_image(images), on_corrupt=on_corrupt, bands=self.bands))


def within_of(
    self: AdaptedModel,
    hierarchy: str | os.PathLike[str] | Hierarchy | None,
    floor: float = FLOOR,
    adapt_to_folder: bool = False,
) -> Within | None:
    """Return a hierarchy of its classes, with the floor of what is said in it; none where none is given.

    Raises:
        DataError: the file cannot be read as one.
        ConfigError: images are not of one class each, or labelled all together, or a floor out of its range.
    """
    floor = arguments.share("floor", floor)
    if hierarchy is None:
        return None
    if not self.task.exclusive or not self.class_names:
        what = "have several labels" if self.class_names else "have no classes"
        raise ConfigError(
            f"`hierarchy` is for classes of which one is right, and images of this run {what}; leave it out"
        )
    if adapt_to_folder:
        raise ConfigError(
            "`hierarchy` with `adapt_to_folder=True`: nodes are said of images that are labelled one by one; leave out "
            "one of the two"
        )
    read = hierarchy if isinstance(hierarchy, Hierarchy) else Hierarchy.read(hierarchy, self.class_names)
    return Within(read, floor)
