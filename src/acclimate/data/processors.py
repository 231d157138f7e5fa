"""Reading the configuration of a Hugging Face image processor, in its old and new spellings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image

from acclimate.errors import BackboneError

FILE = "preprocessor_config.json"
RESAMPLE: dict[str, Image.Resampling] = {r.name.lower(): r for r in Image.Resampling}
_BY_NUMBER = {int(r.value): name for name, r in RESAMPLE.items()}

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CLIP = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}
_HALF = {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.5, 0.5, 0.5)}
_IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_EDGE_AND_CROP = {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True, "resample": 3}
_BILINEAR, _BICUBIC = {"size": 224, "resample": 2}, {"size": 224, "resample": 3}

# What a processor of each family does with keys that its file leaves out. Older files leave out a great deal. A file
# belongs to the first family that its processor's name begins with.
_FAMILIES: dict[str, dict[str, Any]] = {
    "siglip": {**_BICUBIC, **_HALF},
    "clip": {**_EDGE_AND_CROP, **_CLIP},
    "bit": {**_EDGE_AND_CROP, **_CLIP},
    "metaclip_2": {**_EDGE_AND_CROP, **_CLIP},
    "efficientnet": {**_BICUBIC, "size": 346, "crop_size": 289, **_HALF, "include_top": True},
    "vit": {**_BILINEAR, **_HALF},
    "deit": {**_EDGE_AND_CROP, **_HALF, "size": 256},
    "beit": {**_BICUBIC, **_HALF, "crop_size": 224},
    "dinov3": {**_BILINEAR, **_IMAGENET},
    "convnext": {"size": {"shortest_edge": 384}, "crop_pct": 224 / 256, "resample": 3, **_HALF},
    "sam": {"size": {"longest_edge": 1024}, "do_pad": True, "pad_size": 1024, "resample": 2, **_IMAGENET},
}
_EDGE_BY_DEFAULT = {"clip", "bit", "convnext"}  # read a bare `"size": 224` as the shortest edge, the others as a square
_WARPED_FROM = 384  # ConvNeXt's processor stretches images to sizes from here on, and crops smaller ones


def transform_fields(config: Mapping[str, Any], default: str = "clip") -> dict[str, Any]:
    """Return the fields of the `ImageTransform` that does what the processor does.

    Args:
        config: content of a `preprocessor_config.json`; keys it lacks take the default of the processor it names.
        default: family of the processor, where the file names none (those of ViT-MAE do not).

    Raises:
        BackboneError: a step that the transform does not have, or a size that it cannot read.
    """
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type") or default).lower()
    family = next((name for name in _FAMILIES if kind.startswith(name)), default)
    full = {**_FAMILIES[family], **{k: v for k, v in config.items() if v is not None}}
    square = bool(full.get("default_to_square", family not in _EDGE_BY_DEFAULT))
    geometry: dict[str, Any] = {"resize": None, "crop": None}
    if full.get("do_resize", True) and family != "sam":
        geometry["resize"] = _size(full["size"], "size", square)
    if full.get("do_center_crop"):
        geometry["crop"] = _pair(full.get("crop_size", full["size"]), "crop_size")
    if family == "sam":
        geometry |= _padded(full)
    elif full.get("do_pad"):
        raise BackboneError(f"{FILE}: do_pad=true is not supported; set it to false")
    elif family == "convnext" and isinstance(geometry["resize"], int):
        geometry |= _cropped(geometry["resize"], full)
    if full.get("rescale_offset"):
        raise BackboneError(f"{FILE}: rescale_offset=true is not supported; set it to false")
    normalise, rescale = full.get("do_normalize", True), full.get("do_rescale", True)
    return {
        **geometry,
        "resample": _resample(full["resample"]),
        "mean": _three(full["image_mean"]) if normalise else (0.0, 0.0, 0.0),
        "std": _spread(full) if normalise else (1.0, 1.0, 1.0),
        "rescale": float(full.get("rescale_factor", 1 / 255)) if rescale else 1.0,
    }


def _padded(full: Mapping[str, Any]) -> dict[str, Any]:
    """SAM: the longest edge to a size, then padding."""
    edge = full["size"].get("longest_edge") if isinstance(full["size"], Mapping) else full["size"]
    if not isinstance(edge, int) or not full.get("do_resize", True) or not full["do_pad"]:
        raise BackboneError(
            f"{FILE}: size={full['size']!r}, do_resize={full.get('do_resize', True)}, do_pad={full['do_pad']} of a SAM "
            'processor cannot be followed; write "size": {"longest_edge": n}, and true for both'
        )
    return {"resize": edge, "pad": _pair(full["pad_size"], "pad_size")}


def _cropped(edge: int, full: Mapping[str, Any]) -> dict[str, Any]:
    """ConvNeXt: small images are cut out of larger ones."""
    if full.get("do_center_crop"):
        raise BackboneError(f"{FILE}: do_center_crop=true beside crop_pct is not supported; set it to false")
    if edge >= _WARPED_FROM:
        return {"resize": (edge, edge), "crop": None}
    return {"resize": int(edge / full["crop_pct"]), "crop": (edge, edge)}


def _pair(value: Any, key: str) -> tuple[int, int]:
    size = _size(value, key, True)
    return (size, size) if isinstance(size, int) else size


def _size(value: Any, key: str, square: bool) -> int | tuple[int, int]:
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
        f'{FILE}: {key}={value!r} cannot be read; write a number, {{"shortest_edge": n}} or {{"height": h, "width": w}}'
    )


def _resample(value: Any) -> str:
    name = _BY_NUMBER.get(value) if isinstance(value, int) else str(value).lower()
    if name not in RESAMPLE:
        raise BackboneError(f"{FILE}: resample={value!r} is unknown; write a number from 0 to 5")
    return name


def _spread(full: Mapping[str, Any]) -> tuple[float, float, float]:
    """What pixels are divided by: the deviation, and by it once more where EfficientNet's processor says so."""
    red, green, blue = _three(full["image_std"])
    return (red**2, green**2, blue**2) if full.get("include_top") else (red, green, blue)


def _three(value: Any) -> tuple[float, float, float]:
    if isinstance(value, int | float):
        return (float(value),) * 3
    if isinstance(value, list | tuple) and len(value) == 3:
        return (float(value[0]), float(value[1]), float(value[2]))
    raise BackboneError(f"{FILE}: image_mean or image_std is {value!r}; write three numbers")
