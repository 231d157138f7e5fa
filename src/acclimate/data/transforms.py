"""The evaluation transform of a backbone, as data.

It gives exactly the pixels of the Hugging Face image processors (their Pillow backend), without torchvision and
without building a processor: resize, centre crop (padded with black where the picture is smaller), rescale, normalise.
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

from acclimate.errors import BackboneError, ConfigError

RESAMPLE: dict[str, Image.Resampling] = {r.name.lower(): r for r in Image.Resampling}
_BY_NUMBER = {int(r.value): name for name, r in RESAMPLE.items()}

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# What a processor of each family does with keys that its file leaves out. Older files leave out a great deal.
_FAMILY_DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {
        "size": {"shortest_edge": 224},
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": _CLIP_MEAN,
        "image_std": _CLIP_STD,
    },
    "siglip": {"size": {"height": 224, "width": 224}, "resample": 3, "image_mean": _HALF, "image_std": _HALF},
    "vit": {"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": _HALF, "image_std": _HALF},
    "bit": {
        "size": {"shortest_edge": 224},
        "crop_size": 224,
        "do_center_crop": True,
        "resample": 3,
        "image_mean": _IMAGENET_MEAN,
        "image_std": _IMAGENET_STD,
    },
}
# A family with this property reads a bare `"size": 224` as a square, not as the shortest edge.
_SQUARE_BY_DEFAULT = {"vit"}


@dataclass(frozen=True)
class ImageTransform:
    """Turn a picture into the pixels that a backbone was trained on.

    Args:
        resize: an int scales the shortest edge to so many pixels; a pair `(height, width)` stretches to exactly that;
            `None` leaves the size alone.
        crop: centre crop `(height, width)`, padded with black where the picture is smaller; `None` for no crop.
        resample: "nearest", "box", "bilinear", "hamming", "bicubic" or "lanczos".
        mean: per channel, subtracted after rescaling.
        std: per channel, divides last.
        rescale: factor on the 0..255 grey levels, usually 1/255.

    Raises:
        ConfigError: an unknown filter, a size below 1, or a transform whose output size would vary between pictures.
    """

    resize: int | tuple[int, int] | None = 224
    crop: tuple[int, int] | None = (224, 224)
    resample: str = "bicubic"
    mean: tuple[float, float, float] = _CLIP_MEAN
    std: tuple[float, float, float] = _CLIP_STD
    rescale: float = 1 / 255

    def __post_init__(self) -> None:
        """Check the values and turn lists (from JSON) into tuples."""
        for name in ("resize", "crop", "mean", "std"):
            value = getattr(self, name)
            if isinstance(value, list | tuple):
                object.__setattr__(self, name, tuple(value))
        if self.resample not in RESAMPLE:
            raise ConfigError(f"resample={self.resample!r} is unknown; choose one of {', '.join(sorted(RESAMPLE))}")
        if self.crop is None and not isinstance(self.resize, tuple):
            raise ConfigError(
                f"resize={self.resize!r} without a crop gives every picture another size; give crop=(height, width) "
                "or resize=(height, width)"
            )
        for name in ("resize", "crop"):
            value = getattr(self, name)
            pair = value if isinstance(value, tuple) else (value, value)
            if value is not None and (len(pair) != 2 or any(not isinstance(v, int) or v < 1 for v in pair)):
                raise ConfigError(f"{name}={value!r} is not a size; give positive whole numbers of pixels")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise ConfigError(f"mean={self.mean} and std={self.std} must hold three numbers each, std without zeros")

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output in pixels."""
        size = self.crop or self.resize
        assert isinstance(size, tuple)
        return size

    @property
    def fingerprint(self) -> str:
        """Hex digest that names this transform in caches and records."""
        text = json.dumps({"transform": 1, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the pixels of one picture as uint8 `(3, H, W)`, small enough to keep whole data sets in memory."""
        image = image.convert("RGB")  # no copy of the pixels where the picture is RGB already
        if self.resize is not None:
            height, width = self._resized(image.height, image.width)
            image = image.resize((width, height), RESAMPLE[self.resample])
        if self.crop is not None:
            # Floor division for both signs places odd remainders, and odd padding, where the reference places them.
            top, left = (image.height - self.crop[0]) // 2, (image.width - self.crop[1]) // 2
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        return _to_tensor(image)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return `(pixels * rescale - mean) / std` in float32, on the device of `pixels`.

        Args:
            pixels: `(..., 3, H, W)` uint8, or float in 0..255.
        """
        mean = torch.tensor(self.mean, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32, device=pixels.device).view(3, 1, 1)
        return (pixels.to(torch.float32) * self.rescale - mean) / std

    def canvas(self, image: Image.Image, factor: float = 2.0) -> tuple[Tensor, float]:
        """Stretch the whole picture to a square, the input of `Augmentation`.

        The side is as long as the longer edge of the picture, so that no detail is lost, but at least the output side
        and at most `factor` times it; in between it is rounded down to quarters of the output side, so that pictures
        of many sizes fall into few groups that can be batched.

        Args:
            image: any mode; converted to RGB.
            factor: longest side in multiples of the output side, at least 1.

        Returns:
            The canvas, uint8 `(3, S, S)`, and the aspect ratio width / height of the picture before stretching.

        Raises:
            ConfigError: `factor` below 1.
        """
        if factor < 1:
            raise ConfigError(f"canvas factor={factor} must be at least 1")
        out = max(self.output_size)
        multiple = min(max(max(image.size) / out, 1.0), factor)
        side = max(out, int(out * int(multiple * 4) / 4))
        square = image.convert("RGB").resize((side, side), RESAMPLE[self.resample])
        return _to_tensor(square), image.width / image.height

    def view_box(self, aspect: float) -> tuple[float, float, float, float]:
        """Return what the transform sees of a picture: top, left, height, width as fractions of the picture.

        Args:
            aspect: width / height of the picture.
        """
        if self.crop is None:
            return (0.0, 0.0, 1.0, 1.0)
        if self.resize is None:  # the size of the picture is not known: the largest centred box of the output's shape
            shape = self.crop[1] / self.crop[0]
            height, width = min(1.0, aspect / shape), min(1.0, shape / aspect)
            return ((1 - height) / 2, (1 - width) / 2, height, width)
        # The edges as the transform makes them; the summand undoes rounding in `aspect` before truncation.
        rows, columns = self._resized(1.0, aspect + 1e-9) if aspect >= 1 else self._resized(1.0 / aspect + 1e-9, 1.0)
        top, left = max(0, (rows - self.crop[0]) // 2), max(0, (columns - self.crop[1]) // 2)
        height, width = min(self.crop[0], rows), min(self.crop[1], columns)
        return (top / rows, left / columns, height / rows, width / columns)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

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
    def from_processor_config(cls, config: Mapping[str, Any]) -> ImageTransform:
        """Read the content of a `preprocessor_config.json`, in its old and new spellings.

        Args:
            config: the dictionary in the file; keys it lacks take the default of the processor it names.

        Raises:
            BackboneError: a step that this transform does not have, or a size that it cannot read.
        """
        family = _family(config)
        full = {**_FAMILY_DEFAULTS[family], **{k: v for k, v in config.items() if v is not None}}
        if full.get("do_pad"):
            raise BackboneError("preprocessor_config.json: do_pad=true is not supported; set it to false")
        square = bool(full.get("default_to_square", family in _SQUARE_BY_DEFAULT))
        resize = _read_size(full["size"], "size", square) if full.get("do_resize", True) else None
        crop: tuple[int, int] | None = None
        if full.get("do_center_crop", "crop_size" in config):
            size = _read_size(full.get("crop_size", full["size"]), "crop_size", True)
            crop = (size, size) if isinstance(size, int) else size
        normalise, rescale = full.get("do_normalize", True), full.get("do_rescale", True)
        return cls(
            resize=resize,
            crop=crop,
            resample=_read_resample(full["resample"]),
            mean=_three(full["image_mean"]) if normalise else (0.0, 0.0, 0.0),
            std=_three(full["image_std"]) if normalise else (1.0, 1.0, 1.0),
            rescale=float(full.get("rescale_factor", 1 / 255)) if rescale else 1.0,
        )

    def _resized(self, height: float, width: float) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        assert self.resize is not None
        # Truncation of the long edge, as the reference does; rounding would shift some crops by half a pixel.
        if width <= height:
            return int(self.resize * height / width), self.resize
        return self.resize, int(self.resize * width / height)


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image, dtype=np.uint8).transpose(2, 0, 1).copy())


def _family(config: Mapping[str, Any]) -> str:
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or "clip").lower()
    for family in ("siglip", "clip", "bit"):
        if kind.startswith(family):
            return family
    return "vit" if kind.startswith(("vit", "deit", "beit")) else "clip"


def _read_size(value: Any, key: str, square: bool) -> int | tuple[int, int]:
    if isinstance(value, list | tuple) and len(value) == 2:
        return (int(value[0]), int(value[1]))
    if isinstance(value, int):
        return (value, value) if square else value
    if isinstance(value, Mapping):
        known = {name: size for name, size in value.items() if size is not None}
        if set(known) == {"height", "width"}:
            return (int(known["height"]), int(known["width"]))
        if set(known) == {"shortest_edge"}:
            return int(known["shortest_edge"])
    raise BackboneError(
        f"preprocessor_config.json: {key}={value!r} cannot be read; "
        'write a number, {"shortest_edge": n} or {"height": h, "width": w}'
    )


def _read_resample(value: Any) -> str:
    name = _BY_NUMBER.get(value) if isinstance(value, int) else str(value).lower()
    if name not in RESAMPLE:
        raise BackboneError(f"preprocessor_config.json: resample={value!r} is unknown; write a number from 0 to 5")
    return name


def _three(value: Any) -> tuple[float, float, float]:
    if isinstance(value, int | float):
        return (float(value),) * 3
    if isinstance(value, list | tuple) and len(value) == 3:
        return (float(value[0]), float(value[1]), float(value[2]))
    raise BackboneError(f"preprocessor_config.json: image_mean or image_std is {value!r}; write three numbers")
