"""What a generative model is asked and shown of images, and what it learns to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from acclimate.backbones.generative.vlm import Images


class Lesson(NamedTuple):
    """A question about an image, and the answer that is learned."""

    asked: str
    answer: str


@dataclass(frozen=True)
class Asks:
    """What is asked of the images of a data set, and what may be answered.

    Attributes:
        training: the instruction that is learned from.
        prediction: the instruction that is asked in prediction.
        answers: the words of each class, by its index among the classes of the method.
    """

    training: str
    prediction: str
    answers: Mapping[int, str]


@dataclass(frozen=True)
class Visual:
    """What a language model sees of some images.

    Attributes:
        images: tokens (B, T, D) or (B, T D) of the images, or those of each in its own shape.
        exemplars: (B, K, D) extra tokens behind them, or none.
        image_tokens: T, where it is not that of the backbone.
    """

    images: Images
    exemplars: Tensor | None = None
    image_tokens: int | None = None

    @property
    def count(self) -> int:
        """Number K of extra tokens."""
        return 0 if self.exemplars is None else self.exemplars.shape[1]

    def size(self, row: int) -> dict[str, Any]:
        """Return how many `exemplars` and `image_tokens` a conversation about one of the images has."""
        tokens = self.image_tokens if isinstance(self.images, Tensor) else self.images[row]
        return {"exemplars": self.count, "image_tokens": tokens}
