"""The evaluation transform of a backbone, as data.

It gives exactly the pixels of the Hugging Face image processors (their Pillow backend), without torchvision and
without building a processor: resize, centre crop (padded with black where the image is smaller), rescale, normalise,
pad.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from acclimate.data.processors import CLIP_MEAN, CLIP_STD, RESAMPLE, transform_fields
from acclimate.errors import ConfigError

MOST_SCALED = 2**25
"""Pixels of a scaled image (100 MB) beyond which only what the crop leaves is made."""


@dataclass(frozen=True)
class ImageTransform:
    """Turn an image into the pixels that a backbone was trained on.

    Args:
        resize: an int scales the shortest edge to so many pixels; a pair `(height, width)` stretches to exactly that;
            `None` leaves the size alone. With `pad`, an int scales the longest edge.
        crop: centre crop `(height, width)`, padded with black where the image is smaller; `None` for no crop.
        resample: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos".
        mean: per channel, subtracted after rescaling.
        std: per channel, divides last.
        rescale: factor on the 0..255 grey levels, usually 1/255.
        pad: final `(height, width)`: what the image does not fill, at the bottom or the right, is zero after
            normalisation.

    Raises:
        ConfigError: an unknown filter, a size below 1, or a transform whose output size would vary between images.
    """

    resize: int | tuple[int, int] | None = 224
    crop: tuple[int, int] | None = (224, 224)
    resample: str = "bicubic"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    rescale: float = 1 / 255
    pad: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values and turn lists (from JSON) into tuples."""
        for name in ("resize", "crop", "mean", "std", "pad"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, tuple(value))
        if self.resample not in RESAMPLE:
            raise ConfigError(f"resample={self.resample!r} is unknown; choose one of {', '.join(sorted(RESAMPLE))}")
        if self.pad is not None and (self.crop is not None or not isinstance(self.resize, int)):
            raise ConfigError(f"pad={self.pad} wants resize=n, the longest edge, and crop=None")
        if self.crop is None and self.pad is None and not isinstance(self.resize, tuple):
            raise ConfigError(
                f"resize={self.resize!r} without a crop gives every image another size; give crop=(height, width) "
                "or resize=(height, width)"
            )
        for name in ("resize", "crop", "pad"):
            value = getattr(self, name)
            pair = value if isinstance(value, tuple) else (value, value)
            if value is not None and (len(pair) != 2 or any(not isinstance(v, int) or v < 1 for v in pair)):
                raise ConfigError(f"{name}={value!r} is not a size; give positive whole numbers of pixels")
        if self.pad is not None and isinstance(self.resize, int) and self.resize > min(self.pad):
            raise ConfigError(f"resize={self.resize} is larger than pad={self.pad}; the longest edge must fit in")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise ConfigError(f"mean={self.mean} and std={self.std} must hold three numbers each, std without zeros")

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output in pixels."""
        size = self.pad or self.crop or self.resize
        assert isinstance(size, tuple)
        return size

    @property
    def fingerprint(self) -> str:
        """Hex digest that names this transform in caches and records."""
        text = json.dumps({"transform": 1, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def fill(self) -> Tensor | None:
        """Grey levels `(3, 1, 1)`, float32, that padding has before normalisation; none where nothing is padded."""
        return None if self.pad is None else torch.tensor(self.mean, dtype=torch.float32).view(3, 1, 1) / self.rescale

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the pixels of one image, `(3, H, W)`, for `normalise`.

        They are uint8, small enough to keep whole data sets in memory; float32 where the transform pads, with a value
        that is between grey levels.
        """
        image = image.convert("RGB")  # no copy of the pixels where the image is RGB already
        if self.resize is not None:
            size = self._resized(image.height, image.width)
            if self.crop is not None and size[0] * size[1] > MOST_SCALED:
                image = self._cut(image, size, self.crop)
            else:
                image = self._scaled(image, size)
        if self.crop is not None:
            # Floor division for both signs places odd remainders, and odd padding, where the reference places them.
            top, left = (image.height - self.crop[0]) // 2, (image.width - self.crop[1]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        pixels = _to_tensor(image)
        if self.pad is None or self.fill is None:
            return pixels
        padded = self.fill.repeat(1, *self.pad)
        padded[:, : image.height, : image.width] = pixels
        return padded

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return `(pixels * rescale - mean) / std` in float32, on the device of `pixels`.

        Args:
            pixels: `(..., 3, H, W)` uint8, or float in 0..255.
        """
        mean = torch.tensor(self.mean, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        return (pixels.to(torch.float32) * self.rescale - mean) / std

    def canvas(self, image: Image.Image, factor: float = 2.0) -> tuple[Tensor, float]:
        """Stretch the whole image to a square, the input of `Augmentation`.

        The side is as long as the longer edge of the image, so that no detail is lost, but at least the output side
        and at most `factor` times it; in between it is rounded down to quarters of the output side, so that images
        of many sizes fall into few groups that can be batched.

        Args:
            image: any mode; converted to RGB.
            factor: longest side in multiples of the output side, at least 1.

        Returns:
            The canvas, uint8 `(3, S, S)`, and the aspect ratio width / height of the image before stretching.

        Raises:
            ConfigError: `factor` below 1.
        """
        if factor < 1:
            raise ConfigError(f"canvas factor={factor} must be at least 1")
        out = max(self.output_size)
        multiple = min(max(max(image.size) / out, 1.0), factor)
        side = max(out, int(out * int(multiple * 4) / 4))
        square = self._scaled(image.convert("RGB"), (side, side))
        return _to_tensor(square), image.width / image.height

    def view_box(self, aspect: float) -> tuple[float, float, float, float]:
        """Return what the transform sees of an image: top, left, height, width as fractions of the image.

        Where it pads, the box reaches beyond the bottom or the right edge.

        Args:
            aspect: width / height of the image.
        """
        if self.pad is not None:
            # The summand undoes rounding in `aspect` where the short edge is half-way between two lengths.
            edges = (1.0, aspect + 1e-9) if aspect < 1 else (1.0 / aspect + 1e-9, 1.0)
            rows, columns = self._resized(*edges)
            return (0.0, 0.0, self.pad[0] / rows, self.pad[1] / columns)
        if self.crop is None:
            return (0.0, 0.0, 1.0, 1.0)
        if self.resize is None:  # the size of the image is not known: the largest centred box of the output's shape
            shape = self.crop[1] / self.crop[0]
            height, width = min(1.0, aspect / shape), min(1.0, shape / aspect)
            return ((1 - height) / 2, (1 - width) / 2, height, width)
        # The edges as the transform makes them; the summand undoes rounding in `aspect` before truncation.
        rows, columns = self._resized(1.0, aspect + 1e-9) if aspect >= 1 else self._resized(1.0 / aspect + 1e-9, 1.0)
        top, left = max(0, (rows - self.crop[0]) // 2), max(0, (columns - self.crop[1]) // 2)
        height, width = min(self.crop[0], rows), min(self.crop[1], columns)
        return (top / rows, left / columns, height / rows, width / columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, without `pad` where there is none (so fingerprints stay as they were)."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if self.pad is None:
            del fields["pad"]
        return fields

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageTransform:
        """Return the transform that `to_dict` described.

        Raises:
            ConfigError: a field that does not exist, or a bad value.
        """
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise ConfigError(
                f"image transform: unknown field {unknown[0]!r}; known: {', '.join(cls.__dataclass_fields__)}"
            )
        return cls(**values)

    @classmethod
    def from_processor_config(cls, config: Mapping[str, Any], default: str = "clip") -> ImageTransform:
        """Read the content of a `preprocessor_config.json`, in its old and new spellings.

        Args:
            config: the dictionary in the file; keys it lacks take the default of the processor it names.
            default: family of the processor, where the file names none.

        Raises:
            BackboneError: a step that this transform does not have, or a size that it cannot read.
            ConfigError: steps that do not go together.
        """
        return cls(**transform_fields(config, default))

    def _cut(self, image: Image.Image, size: tuple[int, int], crop: tuple[int, int]) -> Image.Image:
        """Return the part of an image scaled to `size` that the centre crop leaves, without making the rest.

        A long and narrow image, scaled by its short edge, may be a million times as large as what is cut out of it. The
        filter sees the same neighbours as if the whole were scaled; only the rounding of their weights may differ.
        """
        box, kept = [], []
        for full, scaled, wanted in zip((image.height, image.width), size, crop, strict=True):
            first, length = max(0, (scaled - wanted) // 2), min(wanted, scaled)
            box.append((first * full / scaled, (first + length) * full / scaled))
            kept.append(length)
        (top, bottom), (left, right) = box
        return self._scaled(image, (kept[0], kept[1]), (left, top, right, bottom))

    def _scaled(
        self, image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
    ) -> Image.Image:
        """Return an image, or a box of it, scaled to (height, width).

        Pillow scales the rows first, for each of which it holds pixels of the new width; of a high and narrow image
        these would be too many, so it is scaled on its side.
        """
        kind, (height, width) = RESAMPLE[self.resample], size
        left, top, right, bottom = box or (0, 0, image.width, image.height)
        held, on_its_side = (bottom - top) * width, (right - left) * height
        if held <= max(MOST_SCALED, on_its_side):
            return image.resize((width, height), kind, box)
        turned = image.transpose(Image.Transpose.TRANSPOSE)
        return turned.resize((height, width), kind, (top, left, bottom, right)).transpose(Image.Transpose.TRANSPOSE)

    def _resized(self, height: float, width: float) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        assert self.resize is not None
        if self.pad is not None:  # the longest edge, and the other one to the nearest pixel
            scale = self.resize / max(height, width)
            return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
        # Truncation of the long edge, as the reference does; rounding would shift some crops by half a pixel.
        if width <= height:
            return int(self.resize * height / width), self.resize
        return self.resize, int(self.resize * width / height)


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image, dtype=np.uint8).transpose(2, 0, 1).copy())
