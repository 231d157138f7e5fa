"""In-context examples: training images with question and answer that stand before what is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from acclimate.errors import ConfigError
from acclimate.methods.parts.lessons import Lesson
from acclimate.training.batch import Batch
from acclimate.training.seeding import generator

if TYPE_CHECKING:
    from acclimate.backbones import GenerativeVLM
    from acclimate.backbones.generative.examples import Opening
    from acclimate.methods.parts.lessons import Visual
    from acclimate.training.feeds import Feed

TEXTS = "texts"


class Examples(nn.Module):
    """Questions and answers about training images, kept with what the method reads of these images.

    So a run needs none of its images to predict. The tensors are raw inputs, such as "image_tokens": what a method
    makes of an image, with extra visual tokens if it gives any, it makes of these as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self._opening: tuple[tuple[Tensor | None, ...], Opening] | None = None

    def __len__(self) -> int:
        return len(self.lessons)

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        """The questions and answers; none before they are drawn."""
        if TEXTS not in self._buffers:
            return ()
        return tuple(Lesson(*pair) for pair in json.loads(bytes(self._buffers[TEXTS].tolist())))  # type: ignore[union-attr]

    @property
    def batch(self) -> Batch:
        """What the method reads of the images."""
        return Batch(**{name: tensor for name, tensor in self._buffers.items() if name != TEXTS})

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Take examples over, as `state_dict` gives them."""
        self._buffers.clear()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self._opening = None

    def keep(self, lessons: Sequence[Lesson], read: Mapping[str, Tensor]) -> None:
        """Keep questions and answers, and what is read of their images."""
        texts = torch.tensor(list(json.dumps(list(map(list, lessons))).encode()), dtype=torch.uint8)
        self.put({TEXTS: texts, **read})

    def opening(self, backbone: GenerativeVLM, seen: Visual) -> Opening:
        """Run them, unless the same ones were run before.

        Args:
            backbone: within what was learned of it.
            seen: what the language model sees of their images.
        """
        assert isinstance(seen.images, Tensor)  # images in their own shapes have no examples
        key, held = (seen.images, seen.exemplars), self._opening
        if held is None or not all(_alike(*pair) for pair in zip(held[0], key, strict=True)):
            held = self._opening = key, backbone.opening(self.lessons, seen.images, seen.exemplars)
        return held[1]

    def forget(self) -> None:
        """Forget what was run: something that was learned has changed."""
        self._opening = None


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and torch.equal(one, other)


def draw(train: Feed, count: int, seed: int) -> Batch:
    """Return so many rows of the training data, all of different images, drawn by a seed.

    Raises:
        ConfigError: there are fewer images.
    """
    order = torch.from_numpy(generator("examples", seed).permutation(len(train)))
    chosen: dict[int, int] = {}
    for row in order.tolist():
        if len(chosen) == count:
            break
        one = train.batch(torch.tensor([row]))
        chosen.setdefault(int(one.shown[0]) if "shown" in one else row, row)
    if len(chosen) < count:
        raise ConfigError(f"examples={count}, and there are {len(chosen)} training images; take fewer examples")
    return train.batch(torch.tensor(list(chosen.values())))
