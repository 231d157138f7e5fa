"""Where a model looks: maps of how much each part of an image counts for a class.

Two ways, the first where it can be had:

relevance   attention x gradient through the image towers, or through the language model that reads an image, see
            `acclimate.backbones.relevance`: all image encoders that the method reads are vision transformers, and its
            logits have gradients with respect to their attention, or to that of the language model.
occlusion   parts of the image are painted over with its mean colour, one after another, and what the class loses by it
            is its share; for everything else, such as CNN encoders.

What is explained is the log-odds of the class, log p / (1 - p): what speaks for it and not for the others, also where
the model is so sure that p itself moves no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from acclimate import arguments
from acclimate.backbones.kinds import DUAL, GENERATIVE
from acclimate.backbones.recording import Pass, Reading, recording
from acclimate.backbones.relevance import relevance
from acclimate.data import each_image
from acclimate.data.finding import ImageSource, find_images
from acclimate.data.given import Several
from acclimate.data.tiles import tile_boxes
from acclimate.errors import ConfigError, DataError
from acclimate.methods import Classifier
from acclimate.runs.model import AdaptedModel
from acclimate.runs.prediction import Reader, printable
from acclimate.training.inputs.tiles import TiledInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = 8  # rows and columns of parts that are painted over
AT_ONCE = 16  # images with a part painted over that run together

Box = tuple[float, float, float, float]  # top, left, height, width as fractions of an image


@dataclass(frozen=True)
class Layer:
    """What was found by one look at an image, or at a part of it.

    Attributes:
        values: (rows, columns), 0 or more, of the patches.
        box: where these lie; it may reach beyond the image.
    """

    values: NDArray[np.float64]
    box: Box

    def painted(self, height: int, width: int) -> NDArray[np.float64]:
        """Return the values of each pixel (height, width), per area, between the centres of patches in proportion."""
        top, left, high, wide = self.box
        rows, columns = self.values.shape
        down, across = _between(height, top, high, rows), _between(width, left, wide, columns)
        found: NDArray[np.float64] = down @ self.values @ across.T * (rows * columns / (high * wide))
        return found


@dataclass(frozen=True)
class SaliencyMap:
    """How much each part of an image counts for a class.

    Attributes:
        path: the file, or empty for an image in memory.
        class_name: the class that is explained.
        probability: that the model gives it.
        how: by "relevance" or by "occlusion", see this module.
        image: RGB; none where it could not be read.
        layers: what was found; several where tiles or several encoders are read. They are added.
        error: why the image could not be read, or empty.
    """

    path: str
    class_name: str = ""
    probability: float = 0.0
    how: Literal["relevance", "occlusion", ""] = ""
    image: Image.Image | None = field(default=None, repr=False)
    layers: Sequence[Layer] = field(default=(), repr=False)
    error: str = ""

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """The map (h, w) of the pixels of the image, see `at`."""
        width, height = self.image.size if self.image else (0, 0)
        return self.at(height, width)

    def _repr_png_(self) -> bytes | None:
        """Return the image with its map beside it, for a notebook."""
        from acclimate.runs.saliency_files import draw_beside

        return draw_beside(self) if self.image else None

    def at(self, height: int, width: int) -> NDArray[np.float32]:
        """Return the map scaled to a height and a width, from 0 (counts for nothing) to 1 (counts most).

        What the model does not see, since it is cut off, counts for nothing.
        """
        total = sum((layer.painted(height, width) for layer in self.layers), np.zeros((height, width)))
        most = total.max(initial=0.0)
        return (total / most if most > 0 else total).astype(np.float32)


def look_at_images(
    model: AdaptedModel, images: Several, class_name: str | None = None, on_corrupt: str = "error"
) -> Iterator[SaliencyMap]:
    """Yield for each image how much its parts count for a class.

    Args:
        model: tells classes apart.
        images: as in `AdaptedModel.predict`.
        class_name: the class that is explained; none: of each image the most probable one.
        on_corrupt: `error` raises at the first unreadable image; `skip` yields a map with its `error`.

    Raises:
        ConfigError: a model that tells no classes apart, a class that it does not know, or an option out of its range.
        DataError: images that cannot be found, or cannot be read where `on_corrupt` is `error`.
    """
    if not isinstance(model, AdaptedModel):
        raise ConfigError(f"`model` is {arguments.shown(model)}; give what `adapt` or `load` returns")
    method, names = model.method, model.class_names
    if not isinstance(method, Classifier) or not names:
        raise ConfigError(f"maps need a run that tells classes apart, and {method.name} does not")
    if class_name is not None and class_name not in names:
        raise ConfigError(f"`class_name={class_name!r}`: the run knows {', '.join(names)}; name one of these")
    arguments.one_of("on_corrupt", on_corrupt, ("error", "skip"))
    return _each(_Looker(model, class_name), each_image(images), on_corrupt)


def _each(looker: _Looker, images: Iterator[ImageSource], on_corrupt: str) -> Iterator[SaliencyMap]:
    for number, image in enumerate(find_images(images), start=1):
        path = "" if isinstance(image, Image.Image | bytes) else printable(image)
        try:
            rgb = looker.reader.open(image, number)
        except DataError as error:
            if on_corrupt == "error":
                raise
            yield SaliencyMap(path, error=str(error))
            continue
        yield looker.look(rgb, path)


class _Looker:
    """Makes maps of images, one at a time."""

    def __init__(self, model: AdaptedModel, class_name: str | None) -> None:
        method: Any = model.method
        if method.training:
            method.eval()
        self.method, self.class_name = method, class_name
        self.reader = Reader.of(method, bands=model.bands)
        tiles = all(isinstance(kind, TiledInput) for kind in self.reader.others)
        self.has_relevance = tiles and method.backbone.kind in (DUAL, GENERATIVE)

    def look(self, rgb: Image.Image, path: str) -> SaliencyMap:
        """Return the map of one image."""
        found = self._relevance(rgb) if self.has_relevance else None
        self.has_relevance = found is not None  # what has none once, has none for other images
        logits, layers = found or self._occlusion(rgb)
        index = self._index(logits)
        how: Literal["relevance", "occlusion"] = "occlusion" if found is None else "relevance"
        probability = float(logits.double().softmax(dim=-1)[index])
        return SaliencyMap(path, self.method.class_names[index], probability, how, rgb, layers)

    def _index(self, logits: Tensor) -> int:
        names = self.method.class_names
        return int(logits.argmax()) if self.class_name is None else names.index(self.class_name)

    def _read(self, images: Sequence[Image.Image]) -> Any:
        return self.reader.batch(images, [self.reader.decode(image, 1) for image in images])

    def _logits(self, batch: Any) -> Tensor:
        return self.method.of_bound(self.method.logits_and_spread(batch)[0])

    def _relevance(self, rgb: Image.Image) -> tuple[Tensor, list[Layer]] | None:
        """Return logits (C,), and what the patches of each view of an image count for the class; none without any."""
        whole = (0, 0, *rgb.size)
        with recording() as passes, torch.enable_grad():
            batch = self.reader.encoded([self.reader.decode(rgb, 1)])
            views = [whole] * len(passes)
            for kind in self.reader.others:
                batch |= kind.batch([kind.view(rgb, self.reader.given)], self.reader.given)
                views += tile_boxes(rgb.size, kind.grid)  # type: ignore[attr-defined]
            logits = self._logits(batch)[0]
        views += [whole] * (len(passes) - len(views))  # the method's own passes
        seen = [weights for one in passes for weights in one.weights]
        if not _is_seen(self.method, passes) or not logits.requires_grad:
            return None
        found = torch.autograd.grad(log_odds(logits, self._index(logits)), seen, allow_unused=True)
        gradients = [gradient for gradient in found if gradient is not None]
        if len(gradients) < len(seen):  # something is read that no gradient comes back from
            return None
        layers, rest = [], iter(gradients)
        for one, view in zip(passes, views, strict=True):
            values = relevance(one, [next(rest) for _ in one.weights])
            layers.append(Layer(values.double().cpu().numpy(), _seen_box(one, view, rgb.size)))
        return logits.detach(), layers

    @torch.no_grad()
    def _occlusion(self, rgb: Image.Image) -> tuple[Tensor, list[Layer]]:
        """Return logits (C,), and what the class loses by each part of an image that is painted over."""
        whole = self._logits(self._read([rgb]))[0]
        index = self._index(whole)
        colour = tuple(np.asarray(rgb).reshape(-1, 3).mean(axis=0).round().astype(int).tolist())
        boxes, lost = tile_boxes(rgb.size, PARTS)[1:], []
        for start in range(0, len(boxes), AT_ONCE):
            covered = [rgb.copy() for _ in boxes[start : start + AT_ONCE]]
            for image, box in zip(covered, boxes[start:], strict=False):
                image.paste(colour, box)
            rows = self._logits(self._read(covered))
            lost += [float(log_odds(whole, index) - log_odds(row, index)) for row in rows]
        values = np.nan_to_num(np.array(lost), posinf=0.0, neginf=0.0).clip(0).reshape(PARTS, PARTS)
        return whole, [Layer(values, (0.0, 0.0, 1.0, 1.0))]


def log_odds(logits: Tensor, index: int) -> Tensor:
    """Return log p / (1 - p) of one class, given the logits (C,) of all; of the only class its logit."""
    others = torch.cat([logits[:index], logits[index + 1 :]])
    return logits[index] - others.logsumexp(dim=0) if len(others) else logits[index]


def _is_seen(method: Classifier, passes: Sequence[Pass | Reading]) -> bool:
    """Return whether all that a method looks with was recorded; a generative model looks with its language model."""
    needed: type[Any] = Reading if method.backbone.kind == GENERATIVE else Pass
    return any(isinstance(one, needed) for one in passes) and all(one.complete for one in passes)


def _seen_box(seen: Pass | Reading, view: tuple[float, ...], size: tuple[int, int]) -> Box:
    """Return where the patches of a pass lie in an image of a size (width, height), of which it sees a view."""
    left, top, right, bottom = view
    width, height = right - left, bottom - top
    down, across, high, wide = seen.encoder.transform.view_box(width / height)
    return (
        (top + down * height) / size[1],
        (left + across * width) / size[0],
        high * height / size[1],
        wide * width / size[0],
    )


def _between(pixels: int, start: float, length: float, patches: int) -> NDArray[np.float64]:
    """Return how much of each patch is in each pixel (pixels, patches) along an edge; nothing outside the box."""
    places = ((np.arange(pixels) + 0.5) / max(pixels, 1) - start) / length
    centres = (places * patches - 0.5).clip(0, patches - 1)
    shares = (1 - np.abs(centres[:, None] - np.arange(patches))).clip(0)
    found: NDArray[np.float64] = shares * ((places >= 0) & (places <= 1))[:, None]
    return found
