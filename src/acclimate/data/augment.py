"""Training augmentation on tensors, in batch: random resized crop and horizontal flip.

A crop with a resize is a linear map of the rows and one of the columns, so a whole batch of different crops is two
batched matrix products, `Y = W_y X W_xᵀ`, on any device. The weights are those of Pillow's antialiased bicubic
filter, and what an image becomes depends on its own seed alone, never on the batch it comes in.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acclimate.data.transforms import ImageTransform
from acclimate.errors import ConfigError

_TRIES = 10
_CUBIC = -0.5  # Keys' parameter, as in Pillow


@dataclass(frozen=True)
class Augmentation:
    """Random resized crop (Szegedy et al. 2015, section 6, as it is commonly done) and horizontal flip.

    A crop covers a share of the image drawn evenly from `min_scale..max_scale`, with a shape drawn evenly in the
    logarithm from `ratio`; ten boxes are tried, and where none fits the image, the largest centred box within
    `ratio` is taken. The shape is that in the original image, whatever the shape of its canvas.

    Args:
        crop: draw crops; otherwise a view shows what the evaluation transform shows.
        min_scale: least share of the image's area.
        max_scale: largest share.
        ratio: least and largest width / height of a crop.
        flip: mirror half of the views; leave it off where a mirror image means something else.

    Raises:
        ConfigError: a value out of range.
    """

    crop: bool = True
    min_scale: float = 0.08
    max_scale: float = 1.0
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        object.__setattr__(self, "ratio", tuple(self.ratio))
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise ConfigError(
                f"crop scale {self.min_scale}..{self.max_scale} must be shares of the image, least first, in (0, 1]"
            )
        if len(self.ratio) != 2 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise ConfigError(f"crop ratio={self.ratio} must be two positive numbers, the smaller one first")

    @property
    def fingerprint(self) -> str:
        """Hex digest that names this augmentation in caches and records."""
        text = json.dumps({"augmentation": 1, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __call__(
        self,
        canvases: Tensor,
        aspects: Sequence[float] | Tensor,
        size: tuple[int, int],
        seeds: Sequence[object],
        *,
        transform: ImageTransform | None = None,
    ) -> Tensor:
        """Return one view of each image.

        Args:
            canvases: `(B, 3, S, S)` uint8, whole images stretched to squares (`ImageTransform.canvas`), on any
                device.
            aspects: `(B,)` width / height of the images before that.
            size: height and width of the views.
            seeds: B seeds; a number, a string, or a tuple of these such as (seed, epoch, image digest). A view
                depends on its seed, its canvas and this augmentation only.
            transform: says what part of an image is seen where crops are off, padding included; without it, the
                largest centred box with the shape of the output. A crop always fills the view.

        Returns:
            float32 `(B, 3, H, W)` in 0..255, on the device of `canvases`; `ImageTransform.normalise` takes it.

        Raises:
            ValueError: lengths that differ.
        """
        boxes, flips = self.boxes(aspects, size, seeds, transform=transform)
        if not len(canvases) == len(boxes) == len(flips):
            raise ValueError(f"{len(canvases)} canvases, but {len(boxes)} aspects and {len(flips)} seeds")
        return resample(canvases, boxes, size, flips, transform.fill if transform else None)

    def boxes(
        self,
        aspects: Sequence[float] | Tensor,
        size: tuple[int, int],
        seeds: Sequence[object],
        *,
        transform: ImageTransform | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Draw what `__call__` uses.

        Returns:
            Boxes `(B, 4)`: top, left, height, width as fractions of the image; and which views are mirrored, `(B,)`.
        """
        aspect = np.asarray(aspects, dtype=np.float64).reshape(-1)
        draws = _uniform(seeds, 2 * _TRIES + 3)
        flips = (draws[:, -1] < 0.5) & self.flip
        if not self.crop:
            seen = transform or ImageTransform(resize=None, crop=size)
            boxes = np.array([seen.view_box(a) for a in aspect], dtype=np.float64).reshape(-1, 4)
            return boxes, flips
        if len(aspect) != len(draws):
            raise ValueError(f"{len(aspect)} aspects, but {len(draws)} seeds")
        # With the height of an image as the unit of length, its width and its area are `aspect`.
        area = aspect[:, None] * (self.min_scale + draws[:, :_TRIES] * (self.max_scale - self.min_scale))  # (B, tries)
        low, high = np.log(self.ratio[0]), np.log(self.ratio[1])
        shape = np.exp(low + draws[:, _TRIES : 2 * _TRIES] * (high - low))
        heights, widths = np.sqrt(area / shape), np.sqrt(area * shape) / aspect[:, None]  # both as fractions
        fits = (heights <= 1) & (widths <= 1)
        chosen = fits.argmax(1)  # the first that fits
        rows = np.arange(len(aspect))
        # Where none fits: the largest box within the range of shapes, in the centre.
        bounded = np.clip(aspect, *self.ratio)
        none = ~fits.any(1)
        height = np.where(none, np.minimum(1.0, aspect / bounded), heights[rows, chosen])
        width = np.where(none, np.minimum(1.0, bounded / aspect), widths[rows, chosen])
        top = np.where(none, 0.5, draws[:, -3]) * (1 - height)
        left = np.where(none, 0.5, draws[:, -2]) * (1 - width)
        return np.stack([top, left, height, width], axis=1), flips


def resample(
    canvases: Tensor,
    boxes: NDArray[np.float64],
    size: tuple[int, int],
    flips: NDArray[np.bool_] | None = None,
    fill: Tensor | None = None,
) -> Tensor:
    """Cut a box out of each image and resize it with antialiased bicubic weights (Keys 1981).

    Equal to Pillow's `Image.resize(size, BICUBIC, box=box)`, but for its rounding to whole grey levels, and its
    cutting off at 0 and 255, after the first of the two directions.

    Args:
        canvases: `(B, 3, S, T)`, 0..255.
        boxes: `(B, 4)` top, left, height, width as fractions of the image; those that reach beyond it begin at 0.
        size: height and width of the output.
        flips: `(B,)`, which outputs are mirrored left to right; padding stays where it is.
        fill: `(3, 1, 1)`, what lies beyond the image; without it, 0.

    Returns:
        float32 `(B, 3, H, W)` in 0..255.
    """
    batch, channels, rows, columns = canvases.shape
    height, width = size
    device = canvases.device
    weights_y = _weights(boxes[:, 0] * rows, boxes[:, 2] * rows, rows, height, device)  # (B, H, S)
    weights_x = _weights(boxes[:, 1] * columns, boxes[:, 3] * columns, columns, width, device)  # (B, W, T)
    if flips is not None and flips.any():
        mirrored = torch.as_tensor(flips, device=device).view(-1, 1, 1)
        padded = torch.as_tensor(boxes[:, 1] + boxes[:, 3] > 1 + 1e-9, device=device).view(-1, 1, 1)
        weights_x = torch.where(mirrored & padded, weights_x.flip(2), weights_x)
        weights_x = torch.where(mirrored & ~padded, weights_x.flip(1), weights_x)
    pixels = canvases.to(torch.float32).reshape(batch, channels * rows, columns)
    narrow = (pixels @ weights_x.transpose(1, 2)).view(batch, channels, rows, width)
    views = (weights_y.unsqueeze(1) @ narrow).clamp_(0, 255)  # the cubic overshoots at edges
    if fill is not None:
        inside = weights_y.sum(-1).unsqueeze(-1) * weights_x.sum(-1).unsqueeze(-2)  # (B, H, W), one or zero
        views += fill.to(device) * (1 - inside).unsqueeze(1)
    return views


def _weights(
    start: NDArray[np.float64], length: NDArray[np.float64], inputs: int, outputs: int, device: torch.device
) -> Tensor:
    """Return the resampling matrices `(B, outputs, inputs)` of intervals of a row of pixels."""
    scale = length / outputs  # pixels of input per pixel of output
    centres = start[:, None] + (np.arange(outputs) + 0.5) * scale[:, None]  # (B, outputs)
    # Enlarging interpolates between neighbours; shrinking widens the filter with the step, so that nothing aliases.
    support = np.maximum(scale, 1.0)[:, None, None]
    centre = torch.as_tensor(centres[:, :, None], dtype=torch.float32, device=device)
    grid = torch.arange(inputs, dtype=torch.float32, device=device) + 0.5
    weights = _bicubic((grid - centre) / torch.as_tensor(support, dtype=torch.float32, device=device))
    return (weights / weights.sum(-1, keepdim=True)).masked_fill_(centre >= inputs, 0.0)  # nothing beyond the image


def _bicubic(x: Tensor) -> Tensor:
    """Return Keys' cubic convolution kernel, zero from 2 on."""
    x = x.abs()
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = _CUBIC * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _uniform(seeds: Sequence[object], count: int) -> NDArray[np.float64]:
    """Return `(B, count)` numbers in [0, 1) that depend on each seed alone, the same on every machine."""
    streams = b"".join(hashlib.shake_256(_canonical(seed).encode()).digest(8 * count) for seed in seeds)
    integers = np.frombuffer(streams, dtype="<u8").reshape(len(seeds), count)
    return (integers >> np.uint64(11)).astype(np.float64) * math.ldexp(1.0, -53)


def _canonical(seed: object) -> str:
    parts = seed if isinstance(seed, tuple | list) else (seed,)
    return json.dumps([part if isinstance(part, str) else int(part) for part in parts])
